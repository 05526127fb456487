//! `show cli sockets`: where a HAProxy takes commands.

use std::path::PathBuf;

/// The paths of the Unix sockets in the reply to `show cli sockets`, in HAProxy's order.
pub(crate) fn unix_sockets(text: &str) -> Vec<PathBuf> {
    let mut lines = text.lines();
    if !lines
        .next()
        .is_some_and(|line| line.starts_with("# socket lvl"))
    {
        return Vec::new();
    }
    // A path may have spaces; what follows it has none.
    let paths = lines.filter_map(|line| {
        let (rest, _processes) = line.trim_end().rsplit_once(' ')?;
        let (socket, _level) = rest.rsplit_once(' ')?;
        socket.strip_prefix("unix@").map(PathBuf::from)
    });
    paths.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_and_nothing_else() {
        let told = "# socket lvl processes\nunix@/run/a b.sock admin all\nipv4@127.0.0.1:9 admin all\n\
                    abns@x admin all\nunix@relative.sock admin all\nunix@/run/c.sock operator all\n\n";
        let paths = ["/run/a b.sock", "relative.sock", "/run/c.sock"].map(PathBuf::from);
        assert_eq!(unix_sockets(told), paths);
        assert_eq!(
            unix_sockets("Unknown command\nunix@/run/a admin all\n"),
            [""; 0].map(PathBuf::from)
        );
    }
}
