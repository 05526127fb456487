//! Replies without what differs for no reason that matters: pointers, times, help texts, columns nobody reads.

/// The columns of `show stat` that are compared. The weight is not: it is the one in effect, which older versions
/// leave behind while a server takes no traffic.
const STAT: [&str; 11] = [
    "# pxname",
    "svname",
    "qcur",
    "scur",
    "status",
    "iid",
    "sid",
    "type",
    "idle_conn_cur",
    "used_conn_cur",
    "addr",
];

pub(crate) fn normal(text: &str) -> String {
    text.split_inclusive("\n> ").map(one).collect()
}

fn one(reply: &str) -> String {
    for (from, name) in [
        ("Unknown command", "Unknown command"),
        ("Usage: wait", "Usage"),
    ] {
        if let Some(at) = reply.find(from) {
            // A list of commands or an explanation follows, as long as the version knows them.
            return format!("{}{name}\n> ", one(&reply[..at]));
        }
    }
    let stat = reply.starts_with("# pxname");
    let mut state = false;
    let mut columns: Vec<usize> = Vec::new();
    let mut out = String::new();
    for line in reply.split_inclusive('\n') {
        if line.contains(" MASTER ") || line.starts_with("MASTER") {
            // 2.2 shows the master process as a backend.
            continue;
        }
        state |= line.starts_with("# be_id");
        if stat && line.starts_with("# pxname") {
            columns = STAT
                .iter()
                .map(|name| line.split(',').position(|column| column == *name).unwrap())
                .collect();
        }
        if stat && line.contains(',') {
            let fields: Vec<&str> = line.split(',').collect();
            for column in &columns {
                out.push_str(fields[*column]);
                out.push(',');
            }
            out.push('\n');
        } else if state && line.matches(' ').count() >= 19 && !line.starts_with('#') {
            let mut fields: Vec<&str> = line.split(' ').collect();
            fields[9] = "T";
            out.push_str(&fields.join(" "));
        } else {
            out.push_str(&plain(line));
        }
    }
    out
}

fn plain(line: &str) -> String {
    if let Some(rest) = line.strip_prefix("0x") {
        let digits = rest.find(' ').unwrap_or(rest.len());
        return format!("0xP{}", &rest[digits..]);
    }
    match line.find("; did you mean") {
        Some(at) => format!("{}.\n", &line[..at]),
        None => line.to_owned(),
    }
}
