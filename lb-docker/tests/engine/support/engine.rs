//! An engine of one test's own: data, socket, network namespace and processes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// The image that every engine has.
pub(crate) const IMAGE: &str = "lb-test";
/// The same with a health check each 200 ms.
pub(crate) const CHECKED_IMAGE: &str = "lb-test-checked";

/// A running `dockerd`. Dropping it removes its containers, ends it, and takes its namespace down.
pub(crate) struct Engine {
    dir: TempDir,
    pub(crate) netns: String,
    daemon: Option<Child>,
    settings: &'static str,
    options: Vec<String>,
}

/// Returns `true`: where no engine can be started, the test cannot run and fails.
pub(crate) fn available() -> bool {
    let missing = ["dockerd", "docker", "ip", "nsenter", "gcc", "tar"]
        .into_iter()
        .find(|program| !exists(program));
    let root = fs::read_to_string("/proc/self/status")
        .is_ok_and(|status| status.lines().any(|line| line.starts_with("Uid:\t0")));
    match (missing, root) {
        (Some(program), _) => panic!("cannot run: {program} is not in PATH"),
        (None, false) => panic!("cannot run: starting an engine needs root"),
        (None, true) => true,
    }
}

/// Returns `true` if a program is in PATH.
pub(crate) fn exists(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    })
}

impl Engine {
    /// Starts one, with the test images in it.
    pub(crate) fn start() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let netns = format!("lbd{}-{number}", std::process::id());
        run("ip", &["netns", "add", &netns]);
        let mut engine = Self {
            // Short: the path of a socket has at most 107 bytes.
            dir: tempfile::Builder::new()
                .prefix("lbd")
                .tempdir_in("/tmp")
                .unwrap(),
            netns,
            daemon: None,
            settings: "{}",
            options: Vec::new(),
        };
        run("ip", &["-n", &engine.netns, "link", "set", "lo", "up"]);
        engine.boot();
        engine.load();
        engine
    }

    /// The engine's address, as `DOCKER_HOST` has it.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("s")
    }

    /// A folder for the test's own files.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Runs the `docker` command against this engine; answers with what it printed.
    pub(crate) fn docker(&self, arguments: &[&str]) -> String {
        let output = self.try_docker(arguments);
        assert!(
            output.status.success(),
            "docker {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub(crate) fn try_docker(&self, arguments: &[&str]) -> Output {
        Command::new("docker")
            .args(arguments)
            .env("DOCKER_HOST", self.host())
            .env_remove("DOCKER_CONTEXT")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Runs a container in the background; answers with its id.
    pub(crate) fn run(&self, name: &str, options: &[&str]) -> String {
        self.run_image(IMAGE, name, options)
    }

    pub(crate) fn run_image(&self, image: &str, name: &str, options: &[&str]) -> String {
        let mut arguments = vec!["run", "-d", "--name", name];
        arguments.extend_from_slice(options);
        arguments.push(image);
        self.docker(&arguments)
    }

    /// The IPv4 address of a container on a network.
    pub(crate) fn ip(&self, container: &str, network: &str) -> String {
        let format = format!("{{{{(index .NetworkSettings.Networks {network:?}).IPAddress}}}}");
        self.docker(&["inspect", "-f", &format, container])
    }

    /// Asks a URL from inside the engine's network namespace; the body, or nothing.
    pub(crate) fn fetch(&self, address: &str) -> Option<String> {
        let script = format!(
            "exec 3<>/dev/tcp/{} && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && timeout 5 cat <&3",
            address.replacen(':', "/", 1)
        );
        let output = Command::new("ip")
            .args(["netns", "exec", &self.netns, "bash", "-c", &script])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).ok()?;
        text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
    }

    /// Lets containers live on while the engine is down.
    pub(crate) fn live_restore(&mut self) {
        self.settings = r#"{ "live-restore": true }"#;
        self.halt();
        self.boot();
    }

    /// Starts a container on a Swarm network again; a manager that has just started may refuse for a while.
    pub(crate) fn start_attached(&self, container: &str) {
        let limit = Instant::now() + Duration::from_secs(120);
        loop {
            let output = self.try_docker(&["start", container]);
            if output.status.success() {
                return;
            }
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(Instant::now() < limit, "docker start {container}: {error}");
            sleep(Duration::from_millis(200));
        }
    }

    /// Starts it again with more options.
    pub(crate) fn with_options(&mut self, options: &[&str]) {
        self.options
            .extend(options.iter().map(|option| (*option).to_owned()));
        self.halt();
        self.boot();
    }

    /// Lays a link to the test's own network namespace, or to another engine's; answers with the addresses of the
    /// far end and of this engine.
    pub(crate) fn link(&self, other: Option<&Self>) -> [String; 2] {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let pid = std::process::id();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let [far, near] = [1, 2].map(|end| format!("198.18.{}.{}", pid % 256, number * 4 + end));
        let (out, own) = (format!("o{pid}-{number}"), format!("i{pid}-{number}"));
        run(
            "ip",
            &[
                "link",
                "add",
                &out,
                "type",
                "veth",
                "peer",
                "name",
                &own,
                "netns",
                &self.netns,
            ],
        );
        let mut ends = vec![(vec!["-n", &self.netns], &own, &near)];
        match other {
            Some(other) => {
                run("ip", &["link", "set", &out, "netns", &other.netns]);
                ends.push((vec!["-n", &other.netns], &out, &far));
            }
            None => ends.push((Vec::new(), &out, &far)),
        }
        for (place, device, address) in ends {
            let ip = |words: &[&str]| run("ip", &[place.as_slice(), words].concat());
            ip(&["address", "add", &format!("{address}/30"), "dev", device]);
            ip(&["link", "set", device, "up"]);
        }
        [far, near]
    }

    /// Lets nothing through the engine's links, without a word to either side.
    pub(crate) fn mute_links(&self, muted: bool) {
        let action = if muted { "-I" } else { "-D" };
        for (chain, side) in [("INPUT", "-i"), ("OUTPUT", "-o")] {
            run(
                "nsenter",
                &[
                    &format!("--net=/run/netns/{}", self.netns),
                    "iptables",
                    action,
                    chain,
                    side,
                    "i+",
                    "-j",
                    "DROP",
                ],
            );
        }
    }

    /// Returns `true` if its process runs.
    pub(crate) fn is_up(&self) -> bool {
        self.daemon.is_some()
    }

    /// Ends the engine; its containers live on where `live_restore` was set.
    pub(crate) fn halt(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            signal(daemon.id(), "TERM");
            wait(&mut daemon, Duration::from_secs(30));
        }
    }

    /// Starts the engine after [`halt`](Self::halt).
    pub(crate) fn boot(&mut self) {
        let at = |name: &str| self.dir.path().join(name);
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(at("log"))
            .unwrap();
        // An engine of the machine's own may have settings that contradict these.
        fs::write(at("c"), self.settings).unwrap();
        let namespace = &self.netns;
        // Not `ip netns exec`: it mounts a /sys of its own, in which the engine finds no cgroups.
        let daemon = Command::new("nsenter")
            .arg(format!("--net=/run/netns/{namespace}"))
            .arg("dockerd")
            .args(["--containerd-namespace", namespace])
            .args([
                "--containerd-plugins-namespace",
                &format!("{namespace}-plugins"),
            ])
            .args(["--storage-driver", "vfs"])
            .arg("--config-file")
            .arg(at("c"))
            .arg("--data-root")
            .arg(at("d"))
            .arg("--exec-root")
            .arg(at("e"))
            .arg("--pidfile")
            .arg(at("p"))
            .arg("--host")
            .arg(self.host())
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.daemon = Some(daemon);
        let limit = Instant::now() + Duration::from_secs(60);
        while !self.try_docker(&["version"]).status.success() {
            let ended = self.daemon.as_mut().unwrap().try_wait().unwrap();
            assert!(
                Instant::now() < limit && ended.is_none(),
                "dockerd did not start: {}",
                fs::read_to_string(at("log")).unwrap_or_default()
            );
            sleep(Duration::from_millis(50));
        }
    }

    /// Stops the engine's own process (not its containers) in its tracks.
    pub(crate) fn freeze(&self) {
        signal(self.pid().unwrap(), "STOP");
    }

    pub(crate) fn thaw(&self) {
        if let Some(pid) = self.pid() {
            signal(pid, "CONT");
        }
    }

    /// Turns the engine into a Swarm of one manager, with an overlay network `mesh`.
    pub(crate) fn swarm(&self) {
        self.swarm_at("127.0.0.1");
    }

    pub(crate) fn swarm_at(&self, address: &str) {
        self.docker(&["swarm", "init", "--advertise-addr", address]);
        self.docker(&["network", "create", "-d", "overlay", "--attachable", "mesh"]);
    }

    /// Makes a Swarm service of the test image.
    pub(crate) fn service(&self, name: &str, options: &[&str]) {
        self.service_of(IMAGE, name, options);
    }

    pub(crate) fn service_of(&self, image: &str, name: &str, options: &[&str]) {
        let mut arguments = vec![
            "service",
            "create",
            "--detach",
            "--no-resolve-image",
            "--restart-delay",
            "100ms",
            "--name",
            name,
        ];
        arguments.extend_from_slice(options);
        arguments.push(image);
        self.docker(&arguments);
    }

    fn pid(&self) -> Option<u32> {
        let text = fs::read_to_string(self.dir.path().join("p")).ok()?;
        text.trim().parse().ok()
    }

    fn load(&self) {
        for (name, change) in [
            (IMAGE, None),
            (
                CHECKED_IMAGE,
                Some(
                    "HEALTHCHECK --interval=200ms --timeout=2s --retries=1 CMD [\"/server\", \"health\"]",
                ),
            ),
        ] {
            let mut arguments = vec![
                "import",
                "--change",
                "ENTRYPOINT [\"/server\"]",
                "--change",
                "EXPOSE 80",
            ];
            if let Some(change) = change {
                arguments.extend(["--change", change]);
            }
            let image = image();
            arguments.extend([image.to_str().unwrap(), name]);
            self.docker(&arguments);
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if self.daemon.is_some() {
            self.thaw();
            self.try_docker(&["swarm", "leave", "--force"]);
            let listed = self.try_docker(&["ps", "-aq"]);
            let ids = String::from_utf8_lossy(&listed.stdout).into_owned();
            let mut arguments = vec!["rm", "-fv"];
            arguments.extend(ids.split_whitespace());
            if arguments.len() > 2 {
                self.try_docker(&arguments);
            }
        }
        self.halt();
        // What the engine mounted may outlive it for a moment.
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let own = self.dir.path().to_str().unwrap_or_default().to_owned();
        for mount in mounts.lines().rev() {
            if let Some(path) = mount.split(' ').nth(1)
                && path.starts_with(&own)
            {
                try_run("umount", &["-l", path]);
            }
        }
        try_run("ip", &["netns", "delete", &self.netns]);
    }
}

/// The image as a tar file, made once for each test program.
fn image() -> PathBuf {
    static IMAGE: OnceLock<PathBuf> = OnceLock::new();
    IMAGE
        .get_or_init(|| {
            let dir = Path::new(env!("CARGO_TARGET_TMPDIR"))
                .join(format!("image-{}", std::process::id()));
            fs::create_dir_all(&dir).unwrap();
            let binary = dir.join("server");
            let binary = binary.to_str().unwrap();
            run(
                "gcc",
                &[
                    "-static",
                    "-Os",
                    "-Wall",
                    "-Werror",
                    "-o",
                    binary,
                    super::SERVER,
                ],
            );
            let tar = dir.join("image.tar");
            run(
                "tar",
                &[
                    "-C",
                    dir.to_str().unwrap(),
                    "-cf",
                    tar.to_str().unwrap(),
                    "server",
                ],
            );
            tar
        })
        .clone()
}

/// Runs a program that must succeed.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn try_run(program: &str, arguments: &[&str]) {
    let _failed = Command::new(program).args(arguments).output();
}

fn signal(pid: u32, name: &str) {
    try_run("kill", &[&format!("-{name}"), &pid.to_string()]);
}

fn wait(child: &mut Child, limit: Duration) {
    let end = Instant::now() + limit;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > end {
            let _gone = child.kill();
            let _status = child.wait();
            return;
        }
        sleep(Duration::from_millis(20));
    }
}
