//! What a command answers, and who answers it.

use std::time::Duration;

use super::{config::Level, connection::Terms, worker::Worker};

/// The answer to one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nothing to say.
    Done,
    /// A text with a severity.
    Message {
        severity: u8,
        text: String,
        line_feed: bool,
    },
    /// A text without one.
    Dump(String),
    /// The end of the conversation.
    Quit,
    /// Nothing for now: the answer comes when the condition holds, or the time is over.
    Wait(Duration, Option<String>),
}

pub(super) fn error(text: impl Into<String>) -> Answer {
    message(3, text)
}

pub(super) fn warning(text: impl Into<String>) -> Answer {
    message(4, text)
}

pub(super) fn info(text: impl Into<String>) -> Answer {
    message(6, text)
}

pub(super) fn message(severity: u8, text: impl Into<String>) -> Answer {
    Answer::Message {
        severity,
        text: text.into(),
        line_feed: true,
    }
}

impl Answer {
    /// The same without a line feed, where this version forgets it.
    pub(super) fn forgetting(mut self, forgets: bool) -> Self {
        if let Self::Message { line_feed, .. } = &mut self {
            *line_feed = !forgets;
        }
        self
    }
}

pub(super) fn unknown() -> Answer {
    info("Unknown command")
}

impl Worker {
    /// Runs one command of a connection.
    pub(super) fn run(
        &mut self,
        terms: &mut Terms,
        words: &[&str],
        payload: Option<&str>,
    ) -> Answer {
        let word = |at: usize| words.get(at).copied().unwrap_or_default();
        if words.is_empty() {
            return match self.profile.ignores_empty_commands() {
                true => Answer::Done,
                false => unknown(),
            };
        }
        if self.profile.limits_words() && words.len() > 64 {
            return error("Too many arguments. Commands must have at most 64 arguments.");
        }
        if needs_admin(&self.profile, word(0), word(1), word(2)) && terms.level < Level::Admin {
            return error("Permission denied");
        }
        if word(1) == "map"
            && let Some(answer) = self.map_command(words, payload)
        {
            return answer;
        }
        match (word(0), word(1), word(2)) {
            ("prompt", ..) => {
                terms.prompt = !terms.prompt;
                Answer::Done
            }
            ("quit", ..) => Answer::Quit,
            ("user", ..) => terms.lower(Level::User),
            ("operator", ..) => terms.lower(Level::Operator),
            ("set", "severity-output", kind) => terms.set_severity(kind),
            ("set", "timeout", kind) => terms.set_timeout(kind, word(3)),
            ("show", "cli", "level") => info(terms.level_name()),
            ("experimental-mode", ..) if self.profile.from(2, 6) => Answer::Done,
            ("echo", ..) if self.profile.from(3, 1) => Answer::Dump(format!(
                "{}\n",
                words.get(1..).unwrap_or_default().join(" ")
            )),
            ("show", "sess", _) => Answer::Dump("Session not found.\n".to_owned()),
            ("show", "info", _) => Answer::Dump(self.show_info()),
            ("show", "version", _) if self.profile.from(2, 4) => info(self.profile.full()),
            ("show", "backend", _) => Answer::Dump(self.show_backend()),
            ("show", "servers", "state") => self.show_servers_state(word(3)),
            ("show", "servers", "conn") => self.show_servers_conn(word(3)),
            ("show", "stat", _) => Answer::Dump(self.show_stat(words.get(2..).unwrap_or_default())),
            ("set", "server", at) => self.set_server(at, words.get(3..).unwrap_or_default()),
            ("set", "weight", at) => self.set_weight(at, word(3)),
            ("get", "weight", at) => self.get_weight(at),
            ("enable", "server", at) => self.set_server(at, &["state", "ready"]),
            ("disable", "server", at) => self.set_server(at, &["state", "maint"]),
            ("enable", "health", at) => self.enable_health(at, true),
            ("disable", "health", at) => self.enable_health(at, false),
            ("enable", "agent", at) => self.enable_agent(at, true),
            ("disable", "agent", at) => self.enable_agent(at, false),
            ("shutdown", "sessions", "server") => self.shutdown_sessions(word(3)),
            ("add", "server", at) if self.profile.has_dynamic_servers() => {
                self.add_server(at, words.get(3..).unwrap_or_default())
            }
            ("del", "server", at) if self.profile.has_dynamic_servers() => self.del_server(at),
            ("wait", ..) if self.profile.has_wait() => {
                self.wait(words.get(1..).unwrap_or_default())
            }
            _ => unknown(),
        }
    }
}

fn needs_admin(profile: &super::Profile, verb: &str, what: &str, more: &str) -> bool {
    match (verb, what) {
        ("set", "server" | "weight")
        | ("enable" | "disable", "server" | "health" | "agent")
        | ("experimental-mode", _) => true,
        ("shutdown", "sessions") => more == "server",
        ("add" | "del", "server") => profile.has_dynamic_servers(),
        ("wait", _) => profile.has_wait(),
        (_, "map") => profile.guards_maps(),
        _ => false,
    }
}
