//! A source that says what a test tells it to.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::source::{Cursor, Descriptor, Sink, Source, SourceError, Update};

/// The most words of a script that wait.
const CAPACITY: usize = 4096;

/// A source that says what its [`Script`] tells it to.
#[derive(Debug)]
pub struct FakeSource {
    descriptor: Descriptor,
    words: mpsc::Receiver<Word>,
    attempts: Arc<Mutex<Vec<Option<Cursor>>>>,
}

/// Tells a [`FakeSource`] what to say. It is bound to no attempt: what one attempt did not say, the next says.
#[derive(Debug, Clone)]
pub struct Script {
    words: mpsc::Sender<Word>,
    attempts: Arc<Mutex<Vec<Option<Cursor>>>>,
}

#[derive(Debug)]
enum Word {
    Update(Update),
    End(Result<(), SourceError>),
}

impl FakeSource {
    /// A source and its script.
    #[must_use]
    pub fn new(descriptor: Descriptor) -> (Self, Script) {
        let (sender, words) = mpsc::channel(CAPACITY);
        let attempts: Arc<Mutex<Vec<Option<Cursor>>>> = Arc::default();
        let script = Script {
            words: sender,
            attempts: attempts.clone(),
        };
        let source = Self {
            descriptor,
            words,
            attempts,
        };
        (source, script)
    }
}

impl Script {
    /// The source says this next. Returns whether there was room and the source is still there.
    pub fn say(&self, update: Update) -> bool {
        self.words.try_send(Word::Update(update)).is_ok()
    }

    /// The attempt ends like this. Returns whether there was room and the source is still there.
    pub fn end(&self, result: Result<(), SourceError>) -> bool {
        self.words.try_send(Word::End(result)).is_ok()
    }

    /// The cursor at which each attempt so far was asked to resume.
    #[must_use]
    pub fn attempts(&self) -> Vec<Option<Cursor>> {
        let attempts = self.attempts.lock();
        attempts.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns `true` if the source is gone.
    #[must_use]
    pub fn is_dropped(&self) -> bool {
        self.words.is_closed()
    }
}

#[async_trait]
impl Source for FakeSource {
    fn describe(&self) -> Descriptor {
        self.descriptor.clone()
    }

    async fn watch(&mut self, resume: Option<Cursor>, sink: &Sink) -> Result<(), SourceError> {
        self.attempts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(resume);
        while let Some(word) = self.words.recv().await {
            match word {
                Word::Update(update) => sink.send(update).await?,
                Word::End(result) => return result,
            }
        }
        // The script was dropped: the source stays silent.
        std::future::pending().await
    }
}
