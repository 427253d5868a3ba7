//! HELP replies: a line a form, the explanation indented below it.
use crate::resp::reply::Reply;

/// Answers the HELP of a container command; `lines` are the forms and their indented explanations.
pub fn help(reply: &mut Reply, command: &str, lines: &[&str]) {
    reply.array(lines.len() + 3);
    reply.simple(&format!("{command} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    lines.iter().for_each(|line| reply.simple(line));
    reply.simple("HELP");
    reply.simple("    Prints this help.");
}
