//! What all rules share: the document, and where findings are kept.

use super::{
    document::{At, ConfigFile, Document, Kind},
    finding::{Code, Finding, Guarantee, Severity},
    options::LintOptions,
    proxy::Proxy,
};

pub(super) struct Rules<'d> {
    pub(super) document: &'d Document,
    pub(super) options: &'d LintOptions,
    files: &'d [ConfigFile<'d>],
    findings: Vec<(At, Finding)>,
}

impl<'d> Rules<'d> {
    pub(super) fn new(
        files: &'d [ConfigFile<'d>],
        document: &'d Document,
        options: &'d LintOptions,
    ) -> Self {
        Self {
            document,
            options,
            files,
            findings: Vec::new(),
        }
    }

    /// The backends, `listen` among them, that are not switched off.
    pub(super) fn proxies(&self) -> Vec<Proxy<'d>> {
        let sections = self.document.sections.iter();
        sections
            .filter(|section| matches!(section.kind, Kind::Backend | Kind::Listen))
            .map(|section| Proxy::of(self.document, section, &self.options.policy))
            .filter(|proxy| proxy.last(&["disabled"]).is_none())
            .collect()
    }

    pub(super) fn error(
        &mut self,
        at: At,
        code: Code,
        guarantee: Guarantee,
        message: impl Into<String>,
        instead: impl Into<String>,
    ) {
        self.add(at, code, Severity::Error, guarantee, message, instead);
    }

    pub(super) fn warning(
        &mut self,
        at: At,
        code: Code,
        guarantee: Guarantee,
        message: impl Into<String>,
        instead: impl Into<String>,
    ) {
        self.add(at, code, Severity::Warning, guarantee, message, instead);
    }

    pub(super) fn note(
        &mut self,
        at: At,
        code: Code,
        guarantee: Guarantee,
        message: impl Into<String>,
        instead: impl Into<String>,
    ) {
        self.add(at, code, Severity::Note, guarantee, message, instead);
    }

    fn add(
        &mut self,
        at: At,
        code: Code,
        severity: Severity,
        guarantee: Guarantee,
        message: impl Into<String>,
        instead: impl Into<String>,
    ) {
        let file = self.files.get(at.file);
        let finding = Finding {
            code,
            severity,
            file: file.map_or("", |file| file.name).to_owned(),
            line: at.line,
            section: self.section_at(at),
            guarantee,
            message: message.into(),
            instead: instead.into(),
        };
        // What several sections inherit is said once.
        if !self.findings.iter().any(|(_, known)| *known == finding) {
            self.findings.push((at, finding));
        }
    }

    fn section_at(&self, at: At) -> String {
        let before = |known: At| known.file == at.file && known.line <= at.line;
        let sections = self.document.sections.iter();
        let section = sections.rev().find(|section| before(section.at));
        let Some(section) = section else {
            return String::new();
        };
        let kind = match section.kind {
            Kind::Backend => "backend",
            Kind::Defaults => "defaults",
            Kind::Frontend => "frontend",
            Kind::Global => "global",
            Kind::Listen => "listen",
            Kind::Other => return String::new(),
        };
        format!("{kind} {}", section.name).trim_end().to_owned()
    }

    /// The findings, in the order of the text.
    pub(super) fn finish(mut self) -> Vec<Finding> {
        self.findings
            .sort_by_key(|(at, finding)| (*at, finding.code));
        self.findings
            .into_iter()
            .map(|(_, finding)| finding)
            .collect()
    }
}
