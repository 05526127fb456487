//! Images of an engine without a registry: the agent, and HAProxy.

use std::{fs, path::Path, process::Command};

use crate::{
    support::engine::{Engine, run},
    users::executables,
};

pub(crate) const AGENT: &str = "lb-agent";
pub(crate) const HAPROXY: &str = "haproxy-of-the-matrix";

/// Builds the agent's image as users do, from the program in `LB_AGENT`, or else from the one that was just compiled
/// together with the libraries that it needs.
pub(crate) fn agent(engine: &Engine) {
    let context = engine.dir().join("agent");
    fs::create_dir(&context).unwrap();
    let compiled = env!("CARGO_BIN_EXE_lb-agent").to_owned();
    let program = std::env::var("LB_AGENT").unwrap_or(compiled);
    println!("agent: {program}");
    fs::copy(&program, context.join("lb-agent")).unwrap();
    let mut dockerfile = fs::read_to_string(example("Dockerfile")).unwrap();
    let libraries = libraries(&program);
    if !libraries.is_empty() {
        dockerfile.push_str("COPY libraries /\n");
    }
    for library in libraries {
        let inside = context
            .join("libraries")
            .join(library.trim_start_matches('/'));
        fs::create_dir_all(inside.parent().unwrap()).unwrap();
        fs::copy(&library, inside).unwrap();
    }
    fs::write(context.join("Dockerfile"), dockerfile).unwrap();
    engine.docker(&["build", "-q", "-t", AGENT, &context.display().to_string()]);
    let user = engine.docker(&["image", "inspect", "--format", "{{.Config.User}}", AGENT]);
    assert_eq!(user, "99:99");
}

/// Makes an image of the newest HAProxy that is tested, with `haproxy` in its PATH as in the official one.
pub(crate) fn haproxy(engine: &Engine) {
    let executable = executables().pop().unwrap();
    let program = executable.path();
    let folder = program.parent().unwrap();
    let program = program.display().to_string();
    let mut files = vec![program.clone()];
    // One that was unpacked brings its libraries along, and its place is part of it.
    let own = folder.join("lib");
    match own.join("ld-linux-x86-64.so.2").exists() {
        true => files.push(own.display().to_string()),
        false => files.extend(libraries(&program)),
    }
    let tar = engine.dir().join("haproxy.tar").display().to_string();
    let pack = ["--absolute-names", "--dereference", "-cf", &tar];
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    run("tar", &[pack.as_slice(), &files].concat());
    let path = format!("ENV PATH={}", folder.display());
    engine.docker(&["import", "--change", &path, &tar, HAPROXY]);
}

/// The shared libraries of a program, with its loader; none for a static one.
fn libraries(program: &str) -> Vec<String> {
    let listed = Command::new("ldd").arg(program).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let words = listed.split_whitespace();
    words
        .filter(|word| word.starts_with('/') && Path::new(word).is_file())
        .map(str::to_owned)
        .collect()
}

/// A file of the examples.
pub(crate) fn example(name: &str) -> String {
    format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))
}
