//! The command line: an optional file, `-` for standard input, and directives as `--name value ...`.
use crate::base::split;

/// What the arguments ask for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Cli {
    pub config_file: Option<String>,
    pub from_stdin: bool,
    /// The directives as lines, to be read after the file.
    pub directives: Vec<u8>,
    pub version: bool,
    pub help: bool,
    /// Read the configuration, say whether it is good, and end.
    pub check_config: bool,
    /// Print the port that is listened on, for those who asked for port 0.
    pub print_port: bool,
}

/// Reads the arguments, without the program's name.
pub fn parse_command_line<S: AsRef<str>>(args: &[S]) -> Result<Cli, String> {
    let mut cli = Cli::default();
    let mut args: Vec<&str> = args.iter().map(AsRef::as_ref).collect();
    match args.as_slice() {
        ["-v" | "--version"] => cli.version = true,
        ["-h" | "--help"] => cli.help = true,
        _ => {}
    }
    if cli.version || cli.help {
        return Ok(cli);
    }
    args.retain(|arg| match *arg {
        "--check-config" => {
            cli.check_config = true;
            false
        }
        "--print-port" => {
            cli.print_port = true;
            false
        }
        _ => true,
    });
    let mut args = args.as_slice();
    if let [file, rest @ ..] = args
        && !file.starts_with('-')
    {
        cli.config_file = Some((*file).into());
        args = rest;
    }
    let count = args.len();
    // A directive takes at least one argument, even one that looks like another directive.
    let mut may_start = true;
    for (i, arg) in args.iter().enumerate() {
        if *arg == "-" && (i == 0 || i + 1 == count) {
            cli.from_stdin = true;
            continue;
        }
        match arg.strip_prefix("--") {
            Some(name) if may_start => {
                if !cli.directives.is_empty() {
                    cli.directives.push(b'\n');
                }
                cli.directives.extend(name.bytes().chain([b' ']));
                may_start = split::split_args(arg.as_bytes()).is_ok_and(|words| words.len() > 1);
                // `--save` with nothing behind it has always meant no save points.
                let nothing_follows = args.get(i + 1).is_none_or(|next| next.starts_with("--"));
                if !may_start && nothing_follows && name.eq_ignore_ascii_case("save") {
                    cli.directives.extend(b"\"\"");
                    may_start = true;
                }
            }
            _ => {
                split::quote(&mut cli.directives, arg.as_bytes());
                cli.directives.push(b' ');
                may_start = true;
            }
        }
    }
    Ok(cli)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Cli {
        parse_command_line(args).unwrap()
    }

    fn directives(args: &[&str]) -> String {
        String::from_utf8(parse(args).directives).unwrap()
    }

    #[test]
    fn files_and_flags() {
        assert!(parse(&["--version"]).version && parse(&["-v"]).version && parse(&["-h"]).help);
        let cli = parse(&["a.conf", "--port", "0", "--print-port"]);
        assert_eq!((cli.config_file.as_deref(), cli.print_port), (Some("a.conf"), true));
        assert_eq!(cli.directives, b"port \"0\" ");
        assert!(parse(&["-"]).from_stdin && parse(&["--port", "1", "-"]).from_stdin);
        assert!(parse(&["a.conf", "--check-config"]).check_config);
        assert_eq!(parse(&[]), Cli::default());
    }

    #[test]
    fn directives_take_their_arguments() {
        assert_eq!(directives(&["--bind", "a", "-::1", "--port", "1"]), "bind \"a\" \"-::1\" \nport \"1\" ");
        assert_eq!(directives(&["--save", ""]), "save \"\" ");
        assert_eq!(directives(&["--save"]), "save \"\"");
        assert_eq!(directives(&["--save", "--port", "1"]), "save \"\"\nport \"1\" ");
        assert_eq!(directives(&["--requirepass", "--x", "--port", "1"]), "requirepass \"--x\" \nport \"1\" ");
        assert_eq!(directives(&["--port 6380", "--hz", "5"]), "port 6380 \nhz \"5\" ");
    }
}
