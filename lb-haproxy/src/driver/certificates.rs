//! Certificates: a file that changed is given to HAProxy at run time, in one transaction, and read back.
//!
//! The file on disk is what HAProxy loads at its next start, so nothing else has to be kept.

use std::{
    collections::BTreeMap,
    error::Error as _,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use lb_core::{Condition, ConditionKind, files};
use tracing::{info, warn};

use super::{counters::Counters, error::DriverError, live};
use crate::{
    client::{Client, ClientError},
    proto::{
        BoundedText, CertName, CertificateShown, Command, Info, Pem, Refusal, Reply, SslCommand,
        verdict,
    },
};

/// How often the files are looked at.
const PERIOD: Duration = Duration::from_secs(5);

/// How long a file that was not taken is left alone, unless it changes.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often HAProxy is asked what it has, though no file changed: another client may have replaced it.
const VERIFY: Duration = Duration::from_secs(30);

/// So many times in a row another client's certificate is replaced by that of the file, then that is left to the
/// operator.
const MOST_REPAIRS: u32 = 3;

/// For so long it is told that another client's certificate was replaced.
const NEWS: Duration = Duration::from_secs(60);

/// What is known of the files.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    due_at: Option<Duration>,
    known: BTreeMap<PathBuf, Known>,
}

#[derive(Debug)]
struct Known {
    stamp: Stamp,
    /// When to look again although the file did not change.
    again_at: Duration,
    /// How often in a row another client's certificate was replaced.
    repairs: u32,
    /// The fingerprint of another client's certificate that was replaced last, and when.
    edit: Option<(String, Duration)>,
    /// Why the file is not in use.
    failure: Option<(ConditionKind, String)>,
}

/// What shows that a file was written anew.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    len: u64,
}

/// Why a certificate is not in use.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("it cannot be read: {0}")]
    Read(io::Error),
    #[error("it is no certificate with its key: {0}")]
    Pem(#[from] crate::proto::InvalidPem),
    #[error("its path cannot be written in a command: {0}")]
    Name(String),
    #[error("HAProxy does not take it: {0}")]
    Refused(Refusal),
    #[error(
        "HAProxy shows fingerprint {shown} after it was replaced, expected {expected} with its chain"
    )]
    NotShown { shown: String, expected: String },
    #[error(
        "another client replaced it {MOST_REPAIRS} times, last by the one of fingerprint {shown}; it is left as it is \
         until the file changes"
    )]
    Contention { shown: String },
}

impl Certificates {
    /// When to come back.
    pub(super) fn due_at(&self) -> Option<Duration> {
        self.due_at
    }

    /// A worker that was not known before has loaded the files itself, but maybe an older state of them.
    pub(super) fn forget(&mut self) {
        self.known.clear();
        self.due_at = None;
    }

    /// Looks at the files where that is due. One that cannot be used changes nothing, is named in the log, and
    /// disturbs no other.
    pub(super) async fn follow(
        &mut self,
        files: &[PathBuf],
        client: &mut Client,
        counters: &mut Counters,
        resync: Duration,
        now: Duration,
    ) -> Result<(), DriverError> {
        let verify = VERIFY.min(resync);
        if files.is_empty() || self.due_at.is_some_and(|at| now < at) {
            return Ok(());
        }
        self.due_at = Some(now + PERIOD);
        // A worker that was replaced would take a certificate, and show it to nobody.
        let info = read_info(client).await?;
        if info.stopping {
            return Err(DriverError::StaleWorker { pid: info.pid });
        }
        for file in files {
            let stamp = stamp(file).await;
            let known = self.known.get(file).filter(|known| known.stamp == stamp);
            if known.is_some_and(|known| now < known.again_at) {
                continue;
            }
            let was_in_use = known.is_some_and(|known| known.failure.is_none());
            let mut repairs = known.map_or(0, |known| known.repairs);
            let mut edit = known.and_then(|known| known.edit.clone());
            let may_repair = repairs < MOST_REPAIRS;
            let (failure, pause) = match renew(file, client, may_repair).await? {
                Ok(Renewed::NotNeeded) => {
                    repairs = 0;
                    (None, verify)
                }
                Ok(Renewed::Given { before }) => {
                    match was_in_use {
                        true => {
                            repairs += 1;
                            warn!(path = %file.display(), fingerprint = %before, "a certificate that another client had replaced was put back");
                            edit = Some((before, now));
                        }
                        false => info!(path = %file.display(), "a certificate was replaced"),
                    }
                    counters.add("certificates_replaced", 1);
                    (None, verify)
                }
                Err(failure) => {
                    warn!(path = %file.display(), %failure, "a certificate was not replaced");
                    counters.add("certificates_failed", 1);
                    (Some(failure), PATIENCE)
                }
            };
            let kind = failure.as_ref().map(|failure| match failure {
                Failure::Contention { .. } => ConditionKind::Contention,
                _ => ConditionKind::File,
            });
            let known = Known {
                stamp,
                again_at: now + pause,
                repairs,
                edit,
                failure: kind.zip(failure.map(|failure| failure.to_string())),
            };
            self.known.insert(file.clone(), known);
        }
        Ok(())
    }

    /// The files that are not in use, and those that another client had replaced a short time ago.
    pub(super) fn conditions(&self, now: Duration) -> impl Iterator<Item = Condition> {
        self.known.iter().filter_map(move |(file, known)| {
            let condition = match (&known.failure, &known.edit) {
                (Some((kind, failure)), _) => {
                    Condition::new(*kind, format!("the file is not in use: {failure}"))
                }
                (None, Some((before, at))) if now < at.saturating_add(NEWS) => {
                    let detail = format!(
                        "another client replaced the certificate by the one of fingerprint {before}; lb put that of \
                         the file back"
                    );
                    Condition::new(ConditionKind::ForeignEdit, detail)
                        .with_help("write the file anew, or end the other client")
                        .transient()
                }
                _ => return None,
            };
            Some(condition.of_object(file.display().to_string()))
        })
    }
}

async fn read_info(client: &mut Client) -> Result<Info, DriverError> {
    let command = Command::ShowInfo;
    let reply = client.exec(&command).await?;
    Ok(Info::parse(live::accept(&command, &reply)?)?)
}

/// The most bytes of a certificate with its key and chain.
const MAX_PEM: u64 = 4 << 20;

/// How long a file is waited for.
const WAIT: Duration = Duration::from_secs(5);

async fn stamp(file: &Path) -> Stamp {
    let metadata = files::beside(file, WAIT, |file| fs::metadata(file))
        .await
        .ok();
    Stamp {
        modified: metadata.as_ref().and_then(|data| data.modified().ok()),
        len: metadata.map_or(0, |data| data.len()),
    }
}

/// The outcome for a file.
enum Renewed {
    /// HAProxy had it already.
    NotNeeded,
    /// HAProxy has it now, in place of the certificate of this fingerprint.
    Given { before: String },
}

/// Gives HAProxy the file, unless it has it already.
async fn renew(
    file: &Path,
    client: &mut Client,
    may_change: bool,
) -> Result<Result<Renewed, Failure>, DriverError> {
    let read = |path: &Path| files::read_text(path, MAX_PEM);
    let text = match files::beside(file, WAIT, read).await {
        Ok(text) => text,
        Err(error) => return Ok(Err(Failure::Read(error))),
    };
    let pem: Pem = match text.parse() {
        Ok(pem) => pem,
        Err(error) => return Ok(Err(Failure::Pem(error))),
    };
    let name: CertName = match file.display().to_string().parse() {
        Ok(name) => name,
        Err(error) => return Ok(Err(Failure::Name(format!("{error}")))),
    };
    let before = match shown(&name, client).await? {
        Ok(Some(shown)) if pem.is_shown(&shown) => return Ok(Ok(Renewed::NotNeeded)),
        Ok(Some(CertificateShown { fingerprint, .. })) if !may_change => {
            let shown = fingerprint;
            return Ok(Err(Failure::Contention { shown }));
        }
        Ok(shown) => shown.map_or_else(String::new, |shown| shown.fingerprint),
        Err(refusal) => return Ok(Err(Failure::Refused(refusal))),
    };
    let replaced = replace(&name, &pem, client).await?;
    Ok(replaced.map(|()| Renewed::Given { before }))
}

/// Sets, commits and reads back. Whatever fails is given up, so that the old one stays in use.
async fn replace(
    name: &CertName,
    pem: &Pem,
    client: &mut Client,
) -> Result<Result<(), Failure>, DriverError> {
    let set = SslCommand::Set(name.clone(), pem.clone());
    let mut taken = tell(set.clone(), client).await?;
    if let Err(Refusal::Certificate(_)) = taken {
        // 2.2 answers one good certificate with the error of a bad one before it.
        taken = tell(set, client).await?;
    }
    if taken.is_ok() {
        taken = tell(SslCommand::Commit(name.clone()), client).await?;
    }
    if let Err(refusal) = taken {
        // Where nothing was begun this is refused in turn.
        let _nothing_begun = tell(SslCommand::Abort(name.clone()), client).await?;
        return Ok(Err(Failure::Refused(refusal)));
    }
    let shown = match shown(name, client).await? {
        Ok(shown) => shown,
        Err(refusal) => return Ok(Err(Failure::Refused(refusal))),
    };
    Ok(match shown {
        Some(shown) if pem.is_shown(&shown) => Ok(()),
        other => Err(Failure::NotShown {
            shown: other.map_or_else(String::new, |shown| shown.fingerprint),
            expected: pem.fingerprint().to_owned(),
        }),
    })
}

async fn shown(
    name: &CertName,
    client: &mut Client,
) -> Result<Result<Option<CertificateShown>, Refusal>, DriverError> {
    let told = tell(SslCommand::Show(Some(name.clone())), client).await?;
    Ok(told.map(|reply| CertificateShown::parse(reply.text())))
}

async fn tell(
    command: SslCommand,
    client: &mut Client,
) -> Result<Result<Reply, Refusal>, ClientError> {
    let command = Command::Ssl(command);
    match client.exec(&command).await {
        Ok(reply) => Ok(verdict(&command, &reply).map(|_| reply)),
        // One that is too long for a command says nothing against the conversation.
        Err(ClientError::Refused(error)) => {
            let why = error
                .source()
                .map_or_else(|| error.to_string(), ToString::to_string);
            Ok(Err(Refusal::Certificate(BoundedText::new(&why))))
        }
        Err(error) => Err(error),
    }
}
