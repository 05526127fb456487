//! The agent's own unix socket: only its own user may connect.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
};

use crate::{failure::Failure, page::FIRST_PAGE};

/// The time the program that listens already may take to say what it is.
const ANSWER: Duration = Duration::from_secs(2);

/// The most bytes that it may say.
const MAX_ANSWER: u64 = 4096;

/// A listening socket, whose file goes when it is dropped.
#[derive(Debug)]
pub(crate) struct Listening {
    listener: UnixListener,
    path: PathBuf,
    /// The identity of the file, so that another's is never removed.
    file: (u64, u64),
    owner: u32,
}

impl Listening {
    /// Takes the path, unless another program listens there.
    pub(crate) async fn at(path: &Path) -> Result<Self, Failure> {
        let failed = |cause| Failure::with(format!("agent.socket: {}", path.display()), cause);
        match UnixStream::connect(path).await {
            Ok(stream) => {
                let shown = path.display();
                let answer = tokio::time::timeout(ANSWER, is_agent(stream)).await;
                return Err(Failure::new(match answer {
                    Ok(Ok(true)) => {
                        format!("agent.socket: an agent is running at {shown} already")
                    }
                    _ => format!(
                        "agent.socket: a program listens at {shown} already and does not answer as an agent, expected a \
                         path of the agent's own"
                    ),
                }));
            }
            // Left behind by an agent that was killed, unless it is no socket at all: a file is refused as well.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                let found = fs::symlink_metadata(path).map_err(failed)?;
                if !found.file_type().is_socket() {
                    let shown = path.display();
                    return Err(Failure::new(format!(
                        "agent.socket: {shown} is not a socket, expected a socket left by an agent or nothing; it was \
                         left as it is"
                    )));
                }
                fs::remove_file(path).map_err(failed)?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        Self::bind(path).map_err(failed)
    }

    fn bind(path: &Path) -> io::Result<Self> {
        if let Some(directory) = path.parent().filter(|directory| !directory.exists()) {
            fs::DirBuilder::new()
                .mode(0o755)
                .recursive(true)
                .create(directory)?;
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        let file = fs::metadata(path)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            file: (file.dev(), file.ino()),
            owner: file.uid(),
        })
    }

    /// The next connection of the own user or of root: whoever connected before the mode was set is sent away too.
    pub(crate) async fn accept(&self) -> io::Result<UnixStream> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            let peer = stream.peer_cred()?.uid();
            if peer == self.owner || peer == 0 {
                return Ok(stream);
            }
            tracing::warn!(peer, "a connection of another user was refused");
        }
    }
}

/// Returns `true` if what listens answers with the first page of an agent.
async fn is_agent(mut stream: UnixStream) -> io::Result<bool> {
    let request = b"GET / HTTP/1.1\r\nhost: lb-agent\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    Ok(answer.ends_with(FIRST_PAGE.as_bytes()))
}

impl Drop for Listening {
    fn drop(&mut self) {
        let ours = fs::metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == self.file);
        if ours {
            // Whoever comes next finds out that nobody listens.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn case_h12_a_socket_is_private_is_not_taken_from_a_running_agent_and_goes_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new").join("agent.sock");
        let first = Listening::at(&path).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        // It is an agent if it answers as one.
        let page = format!("HTTP/1.1 200 OK\r\n\r\n{FIRST_PAGE}");
        for (answer, expected) in [
            (page.as_str(), "an agent is running at"),
            ("Unknown command.\n", "a program listens at"),
            ("", "a program listens at"),
        ] {
            let answers = async {
                let mut stream = first.accept().await.unwrap();
                assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
                stream.write_all(answer.as_bytes()).await.unwrap();
                // One that says nothing keeps the connection.
                match answer {
                    "" => Some(stream),
                    _ => None,
                }
            };
            let (taken, _kept) = tokio::join!(Listening::at(&path), answers);
            let taken = taken.unwrap_err().to_string();
            assert!(taken.contains(expected), "{taken}");
        }
        drop(first);
        assert!(!path.exists());

        // Whatever else stands there stays.
        for (name, link) in [("file", false), ("link", true)] {
            let path = directory.path().join(name);
            match link {
                true => std::os::unix::fs::symlink(directory.path().join("file"), &path).unwrap(),
                false => fs::write(&path, "precious").unwrap(),
            }
            let refused = Listening::at(&path).await.unwrap_err().to_string();
            assert!(refused.contains("not a socket"), "{refused}");
            assert_eq!(fs::read(&path).unwrap(), b"precious", "{name}");
        }

        // One left behind by a killed agent is replaced.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let _second = Listening::at(&path).await.unwrap();
    }
}
