//! No child outlives its parent.

use std::{
    io::{self, Write as _},
    process::{Child, Command as Program, Stdio},
};

/// A small shell that waits for us: it is told when to go, and if we vanish without a word it ends the process.
///
/// The kernel's own means (a death signal) is tied to the thread that started the child and needs unsafe code.
#[derive(Debug)]
pub(super) struct Guard(Child);

impl Guard {
    pub(super) fn over(pid: u32) -> io::Result<Self> {
        Program::new("sh")
            .args(["-c", "read word || kill -TERM \"$0\"", &pid.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map(Self)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(mut pipe) = self.0.stdin.take() {
            // If the shell is gone there is nobody to tell.
            let _gone = pipe.write_all(b"done\n");
        }
        let _gone = self.0.wait();
    }
}
