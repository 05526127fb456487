//! Follows a file or a folder of files.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;

use super::{
    files::{Contents, Files, Reading},
    notice::{Notice, Noticed},
    read::{Bounds, Found, parent, read},
    told::Told,
};
use crate::{
    files::{Job, Links},
    model::Name,
    source::{Cursor, Descriptor, Sink, Source, SourceError, Update},
};

/// The time for which a file must be left alone before it is read, while its writer has not closed it.
const QUIET: Duration = Duration::from_millis(100);

/// The time one reading may take.
const HANGS: Duration = Duration::from_secs(30);

/// The time it may take to understand what was read.
const PARSES: Duration = Duration::from_secs(300);

/// After how long a file that seems broken is read again before it is believed to be.
const SECOND_LOOK: Duration = Duration::from_millis(250);

/// Reports what a TOML, JSON or YAML file says, or all such files of a folder, and follows their changes.
///
/// ```toml
/// [services.web]
/// mode = "http"                    # or "tcp"
/// exclusive = false                # true: at most one endpoint gets traffic at any moment
/// on_down = "keep"                 # or "shutdown_sessions": of an endpoint that is down
/// routes = ["shop.example/api"]    # or tables with host, path, priority, strip_prefix, redirect_https
/// endpoints = [
///     "10.0.0.7:8080",
///     { address = "10.0.0.8:8080", id = "web-2", weight = 50, state = "draining", check_port = 9000 },
/// ]
/// ```
///
/// - `services` must be there, unknown fields are errors, and an endpoint without an `id` is named by its address.
/// - Of a folder, files ending in `.toml`, `.json`, `.yaml` and `.yml` are read in the order of their names; hidden
///   files and those left by editors are not. Several files may add to one service.
/// - Renaming a file into place, writing in place and swapping a link are seen at once where the system tells of
///   them, and by looking now and then where it does not.
/// - A broken file changes nothing: its last good records stay, and a diagnostic says file, line, column, field and
///   value. The next reading of the file replaces it. A file that is there no longer leaves the source stale with everything it said; one of a folder is
///   gone with its records, within what the guard lets through.
///
/// ```
/// use lb_core::{ControlPlane, FileSource};
///
/// let source = FileSource::new("file".parse().unwrap(), "/etc/lb/services.toml");
/// let plane = ControlPlane::builder().source(source).build().unwrap();
/// ```
#[derive(Debug)]
pub struct FileSource {
    name: Name,
    path: PathBuf,
    poll: Duration,
    bounds: Bounds,
    looking: Job<io::Result<Found>>,
    files: Files,
    /// Has the files while what was read is being understood.
    parsing: Job<(Files, Reading)>,
    told: Told,
    revision: u64,
    /// The last look found nothing there.
    missing: bool,
}

impl FileSource {
    /// Follows the file or folder at `path`, which need not be there yet.
    #[must_use]
    pub fn new(name: Name, path: impl Into<PathBuf>) -> Self {
        Self {
            name,
            path: path.into(),
            poll: Duration::from_secs(5),
            bounds: Bounds {
                file: 16 << 20,
                folder: 64 << 20,
                links: Links::Inside,
            },
            looking: Job::default(),
            files: Files::default(),
            parsing: Job::default(),
            told: Told::default(),
            revision: 0,
            missing: false,
        }
    }

    /// Sets the interval of looks at the file even where the system reports no change. Defaults to 5 s; at least 10 ms.
    #[must_use]
    pub fn with_poll(mut self, poll: Duration) -> Self {
        self.poll = poll.max(Duration::from_millis(10));
        self
    }

    /// The most bytes that a file may have: 16 MiB unless set. A larger one is broken.
    #[must_use]
    pub fn with_max_bytes(mut self, most: u64) -> Self {
        self.bounds.file = most;
        self
    }

    /// The most bytes that all files of a folder may have together: 64 MiB unless set. Of more, the largest files are
    /// broken.
    #[must_use]
    pub fn with_max_folder_bytes(mut self, most: u64) -> Self {
        self.bounds.folder = most;
        self
    }

    /// If `true`, a file of the folder may be a link that leads out of it. Defaults to `false`: whoever may write in the
    /// folder could else name files that only this program may read. The path of the source itself may always be a link.
    #[must_use]
    pub fn with_outside_links(mut self, allowed: bool) -> Self {
        self.bounds.links = match allowed {
            true => Links::Anywhere,
            false => Links::Inside,
        };
        self
    }

    /// Reads everything. While a reading hangs, as on a disk of the network that is gone, no other is begun.
    async fn look(&mut self) -> io::Result<Found> {
        if self.looking.is_running() {
            // What an attempt that was given up has begun may be old.
            let _old = self.finished().await;
        }
        let path = self.path.clone();
        let bounds = self.bounds;
        self.looking.begin(move || read(&path, bounds));
        self.finished().await
    }

    async fn finished(&mut self) -> io::Result<Found> {
        match self.looking.result(HANGS).await {
            Some(found) => found?,
            None => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "reading hangs, expected an answer of the disk",
            )),
        }
    }

    /// Takes in what all files hold. Many megabytes take long, so it is done beside this task, which is alive meanwhile.
    async fn take_in(&mut self, contents: Contents, sink: &Sink) -> Result<Reading, SourceError> {
        let mut files = std::mem::take(&mut self.files);
        self.parsing.begin(move || {
            let reading = files.read(contents);
            (files, reading)
        });
        self.parsed(sink).await
    }

    async fn parsed(&mut self, sink: &Sink) -> Result<Reading, SourceError> {
        let at = self.cursor();
        let parsed = async {
            loop {
                if let Some(parsed) = self.parsing.result(self.poll).await {
                    return parsed.map_err(|error| unreadable(&self.path, error));
                }
                sink.send(Update::Progress { at: at.clone() }).await?;
            }
        };
        match tokio::time::timeout(PARSES, parsed).await {
            Ok(parsed) => {
                let (files, reading) = parsed?;
                self.files = files;
                Ok(reading)
            }
            Err(_) => Err(unreadable(&self.path, io::ErrorKind::TimedOut.into())),
        }
    }

    fn cursor(&self) -> Cursor {
        Cursor::new("file", self.revision)
    }

    /// The updates that tell everything: what is wrong, then what is there.
    fn everything(&mut self, prefix: &str) -> Vec<Update> {
        self.revision += 1;
        let (records, diagnostics) = self.files.tell(prefix);
        let reset = Update::Reset {
            at: self.cursor(),
            records,
        };
        let mut updates = self.told.replace(diagnostics);
        updates.push(reset);
        updates
    }

    /// The updates that a reading leads to.
    fn updates(&mut self, reading: &Reading, opened: &mut bool, prefix: &str) -> Vec<Update> {
        let ready = *opened || (self.files.has_records() && !reading.unsettled);
        if ready && (!*opened || reading.changed) {
            *opened = true;
            return self.everything(prefix);
        }
        let mut updates = Vec::new();
        if reading.newly_broken || reading.changed {
            updates = self.told.replace(self.files.tell(prefix).1);
        }
        updates.push(Update::Progress { at: self.cursor() });
        updates
    }
}

#[async_trait]
impl Source for FileSource {
    fn describe(&self) -> Descriptor {
        let liveness = self.poll * 3 + Duration::from_secs(2);
        Descriptor::new(self.name.clone(), "file")
            .with_liveness(liveness)
            .with_trust(self.name.clone())
    }

    async fn watch(&mut self, _resume: Option<Cursor>, sink: &Sink) -> Result<(), SourceError> {
        let mut notice = Notice::new();
        let mut opened = false;
        if self.parsing.is_running() {
            // What an attempt that was given up has begun has the files.
            self.parsed(sink).await?;
        }
        // Where the file was missing already, this attempt first waits for it, so that it is seen when it comes.
        let mut patience = if self.missing { 2 } else { 0 };
        notice.aim([parent(&self.path)].into());
        loop {
            let found = match self.look().await {
                Ok(found) => found,
                Err(_) if patience > 0 => {
                    patience -= 1;
                    settle(&notice, self.poll).await;
                    continue;
                }
                Err(error) => {
                    self.missing = true;
                    return Err(unreadable(&self.path, error));
                }
            };
            self.missing = false;
            patience = 0;
            if notice.aim(found.folders) {
                continue;
            }
            let reading = self.take_in(found.contents, sink).await?;
            for update in self.updates(&reading, &mut opened, &found.prefix) {
                sink.send(update).await?;
            }
            let wait = if reading.unsettled {
                SECOND_LOOK.min(self.poll)
            } else {
                self.poll
            };
            settle(&notice, wait).await;
        }
    }
}

/// Waits for a change and for its writer to finish, at most about as long as `longest`.
async fn settle(notice: &Notice, longest: Duration) {
    let Ok(mut noticed) = tokio::time::timeout(longest, notice.wait()).await else {
        return;
    };
    let quiet = async {
        while noticed == Noticed::Touched {
            match tokio::time::timeout(QUIET, notice.wait()).await {
                Ok(more) => noticed = more,
                Err(_) => return,
            }
        }
    };
    // A writer that never pauses does not put the reading off for ever.
    let _ = tokio::time::timeout(longest, quiet).await;
}

fn unreadable(path: &Path, cause: io::Error) -> SourceError {
    SourceError::transient_from(format!("cannot read {}", path.display()), cause)
}
