//! A client's own state: only its connection, or whoever runs a command for it, touches this.
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::command::client::Client;
use crate::keyspace::Watch;
use crate::resp::args::OwnedArgs;

/// A command queued by MULTI.
pub struct Queued {
    /// Number in the command table.
    pub command: usize,
    pub args: OwnedArgs,
}

/// An open MULTI.
#[derive(Default)]
pub struct Multi {
    pub queue: Vec<Queued>,
    /// A queued command was refused: EXEC will abort.
    pub aborted: bool,
    pub bytes: usize,
}

/// What CLIENT REPLY asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReplyMode {
    #[default]
    On,
    Off,
    /// Skip the reply of the next command.
    SkipNext,
    /// Skip the reply of this command.
    Skip,
}

/// One client's state.
pub struct Session {
    pub client: Arc<Client>,
    pub db: usize,
    pub resp3: bool,
    pub authenticated: bool,
    pub user: String,
    pub multi: Option<Multi>,
    /// Watched keys by (database, key), and the flag that a change of one sets.
    pub watched: Vec<(usize, Box<[u8]>)>,
    pub watch: Option<Arc<Watch>>,
    /// Subscribed channels, patterns and shard channels; pub/sub keeps them.
    pub channels: BTreeSet<Box<[u8]>>,
    pub patterns: BTreeSet<Box<[u8]>>,
    pub shard_channels: BTreeSet<Box<[u8]>>,
    pub reply_mode: ReplyMode,
    pub no_touch: bool,
    /// The journal's offset after this client's last write.
    pub journaled: u64,
    /// The command that runs next was let in before, and goes on in the slow lane.
    pub admitted: bool,
    /// The command that runs next waits until then, Unix milliseconds.
    pub delayed_until: Option<u64>,
    /// Set by a command that ends the connection once its reply is sent (QUIT).
    pub quit: bool,
}

impl Session {
    pub fn new(client: Arc<Client>, authenticated: bool) -> Self {
        Self {
            client,
            db: 0,
            resp3: false,
            authenticated,
            user: "default".into(),
            multi: None,
            watched: Vec::new(),
            watch: None,
            channels: BTreeSet::new(),
            patterns: BTreeSet::new(),
            shard_channels: BTreeSet::new(),
            reply_mode: ReplyMode::On,
            no_touch: false,
            journaled: 0,
            admitted: false,
            delayed_until: None,
            quit: false,
        }
    }

    pub fn subscriptions(&self) -> usize {
        self.channels.len() + self.patterns.len() + self.shard_channels.len()
    }

    pub fn in_multi(&self) -> bool {
        self.multi.is_some()
    }
}
