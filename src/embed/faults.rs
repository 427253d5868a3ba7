//! Faults on purpose, for tests of how a client takes them.
use std::time::Duration;

use super::Server;
use crate::server::rehearsal::Rehearsal;

/// What [`Server::faults`] gives: each call adds a fault, or replaces one for the same command. They concern clients on
/// sockets, not [`Server::execute`].
///
/// A command is named as in the protocol, in any case: `GET`; `CONFIG` for all of its subcommands, or `CONFIG|SET`; `*`
/// for every command.
pub struct Faults<'a> {
    server: &'a Server,
}

impl Faults<'_> {
    fn rehearsal(&self) -> &Rehearsal {
        self.server.engine.env().service()
    }

    /// A command runs so much later; only its own connection waits. The time is the server's: a manual clock must be
    /// advanced for it to pass.
    ///
    /// # Panics
    /// If there is no such command; `*` is all of them, and `config|get` one of a container's.
    pub fn delay(&self, command: &str, by: Duration) {
        let ordered = self.rehearsal().delay(self.server.engine.env(), command, by);
        ordered.unwrap_or_else(|e| panic!("{e}"));
    }

    /// A command is not run, and is answered with this error, as `OOM command not allowed`.
    ///
    /// # Panics
    /// If there is no such command, as for [`delay`](Self::delay).
    pub fn error(&self, command: &str, text: &str) {
        let ordered = self.rehearsal().error(self.server.engine.env(), command, text);
        ordered.unwrap_or_else(|e| panic!("{e}"));
    }

    /// Once so many more commands have been taken, whoever they come from, the connection that sends the next one is
    /// closed without a reply. Once: for another, call it again.
    pub fn drop_connection_after(&self, commands: u64) {
        self.rehearsal().drop_after(self.server.engine.env(), commands);
    }

    /// Ends all faults.
    pub fn clear(&self) {
        self.rehearsal().clear();
    }
}

impl Server {
    /// Faults that this server commits on purpose.
    ///
    /// ```
    /// # use std::io::{Read, Write};
    /// let server = tidewater::Server::builder().port(0).start()?;
    /// server.faults().error("SET", "OOM command not allowed when used memory > 'maxmemory'.");
    /// let mut client = std::net::TcpStream::connect(server.addr().unwrap())?;
    /// client.write_all(b"SET k v\r\n")?;
    /// let mut reply = [0; 4];
    /// client.read_exact(&mut reply)?;
    /// assert_eq!(&reply, b"-OOM");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn faults(&self) -> Faults<'_> {
        Faults { server: self }
    }

    /// The latest commands that clients on sockets sent, oldest first: each its name and arguments. As many as
    /// [`Builder::record_commands`](super::Builder::record_commands) said, or none.
    pub fn commands(&self) -> Vec<Vec<Vec<u8>>> {
        self.engine.env().service::<Rehearsal>().commands()
    }
}
