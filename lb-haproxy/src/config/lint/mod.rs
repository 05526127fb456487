//! What in a user's own `haproxy.cfg` breaks which guarantee, and what to write instead.
//!
//! Pure: texts in, [`Finding`]s out. What HAProxy itself refuses, `haproxy -c` says better; here is what it takes and
//! what fails later. Each [`Code`] has a test that shows the failure on a real HAProxy, and that it is gone with what
//! the finding advises.
//!
//! Not found, because no failure comes of it: a short `stats timeout` (every admin connection sets its own), settings
//! of slots in `default-server`, `http-reuse always` (a slot rests until nothing is left to be used again).

mod address;
mod document;
mod finding;
mod fixed;
mod names;
mod options;
mod process;
mod proxy;
mod restore;
mod routes;
mod rules;
mod servers;
mod slots;
mod sockets;
mod traffic;
mod words;

pub use document::ConfigFile;
pub use finding::{Code, Finding, Guarantee, Severity};
pub use options::LintOptions;
pub(crate) use restore::forgets;

use document::Document;
use rules::Rules;

/// The files of the maps in which these files look routes up, as `lb-agent config` writes such lines.
#[must_use]
pub fn route_map_files(files: &[ConfigFile<'_>]) -> Vec<String> {
    names::route_files(&Document::parse(files))
}

/// Everything found in these files, read as several `-f` are: in their order, as one configuration.
///
/// ```
/// use lb_haproxy::config::lint::{Code, ConfigFile, LintOptions, lint};
///
/// let text = "global\n  stats socket /run/haproxy.sock level operator mode 600 expose-fd listeners\n";
/// let file = ConfigFile { name: "haproxy.cfg", text };
/// let found = lint(&[file], &LintOptions::default());
/// assert!(found.iter().any(|finding| finding.code == Code::SocketLevel && finding.line == 2));
/// ```
#[must_use]
pub fn lint(files: &[ConfigFile<'_>], options: &LintOptions) -> Vec<Finding> {
    let document = Document::parse(files);
    let mut rules = Rules::new(files, &document, options);
    sockets::check(&mut rules);
    process::check(&mut rules);
    names::check(&mut rules);
    routes::check(&mut rules);
    for proxy in &rules.proxies() {
        slots::check(proxy, &mut rules);
        fixed::check(proxy, &mut rules);
        traffic::check(proxy, &mut rules);
    }
    rules.finish()
}

/// The map files that the configuration needs when it starts: those that are not there belong into
/// [`LintOptions::missing`].
#[must_use]
pub fn map_files(files: &[ConfigFile<'_>]) -> Vec<String> {
    names::map_files(&Document::parse(files))
        .into_iter()
        .map(|(_, file)| file)
        .collect()
}
