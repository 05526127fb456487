//! `lb-agent config`.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use lb::spec::Spec;
use lb_core::files;
use lb_haproxy::process::{Executable, check_configs};

use crate::{
    cli::{Common, ConfigArgs},
    failure::Failure,
    output::{print, print_line},
};

pub(crate) async fn config(common: &Common, args: &ConfigArgs) -> Result<ExitCode, Failure> {
    let spec = Spec::load(&common.config)?;
    let Some(described) = spec.haproxy else {
        return Err(Failure::new(format!(
            "{} has no table [haproxy], expected one that describes HAProxy's configuration",
            common.config.display()
        )));
    };
    let haproxy = match &args.haproxy {
        Some(path) => Some(Executable::find(Some(path))?),
        None => Executable::find(None).ok(),
    };
    let version = match (&args.haproxy_version, &described.version, &haproxy) {
        (Some(version), ..) => version.clone(),
        (None, Some(version), _) => version
            .parse()
            .map_err(|error| Failure::with("haproxy.version", error))?,
        (None, None, Some(haproxy)) => haproxy.version().await?,
        (None, None, None) => {
            return Err(Failure::new(
                "no HAProxy is installed here: say for which version with --haproxy-version",
            ));
        }
    };
    let config = described.config(&version);
    let text = match &args.template {
        Some(template) => {
            let text = files::read_text(template, MAX_CONFIG)
                .map_err(|error| Failure::with(template.display(), error))?;
            config
                .render_into(&text, &version)
                .map_err(|error| Failure::with(template.display(), error))?
        }
        None => config.render(&version)?,
    };
    match &args.output {
        Some(file) => write(file, &text, haproxy.as_ref()).await?,
        None => print(text),
    }
    Ok(ExitCode::SUCCESS)
}

/// The most bytes of a configuration that is read.
const MAX_CONFIG: u64 = 64 << 20;

/// Puts the text in the file's place when HAProxy has accepted it.
async fn write(file: &Path, text: &str, haproxy: Option<&Executable>) -> Result<(), Failure> {
    let mut name: OsString = file.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let failed = |error| Failure::with(new.display(), error);
    files::replace(&new, text.as_bytes()).map_err(failed)?;
    if let Some(haproxy) = haproxy
        && let Err(error) = check_configs(haproxy, &[&new]).await
    {
        // The old file stays in any case; what is left of the new one is no loss.
        let _ignored = fs::remove_file(&new);
        return Err(Failure::with("the file is as it was", error));
    }
    fs::rename(&new, file).map_err(failed)?;
    let checked = match haproxy {
        Some(_) => "accepted by HAProxy",
        None => "not checked, for there is no HAProxy here",
    };
    print_line(format_args!("{}: written, {checked}", file.display()));
    Ok(())
}
