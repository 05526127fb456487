//! A HAProxy of one's own: started, stopped, killed and looked at.

use std::{
    collections::BTreeMap,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr as _,
    time::Duration,
};

use lb_core::Name;
use lb_haproxy::{
    SocketAddress,
    config::{Bind, Config, ConfigPath, Frontend, Slots},
    process::{self, Executable, HaproxyOptions},
    proto::Version,
};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    time::timeout,
};

use super::{Shape, TestbedError};

/// A running HAProxy with slots for a few services, in a directory of its own. Dropping it kills it.
#[derive(Debug)]
pub struct Haproxy {
    options: HaproxyOptions,
    directory: TempDir,
    /// The folder of the files that it reads when it starts.
    files: PathBuf,
    running: Option<Worker>,
}

#[derive(Debug)]
struct Worker {
    process: process::Haproxy,
    /// The worker, which does what the master only oversees.
    pid: u32,
}

/// The setup of HAProxy.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Each service and where its frontend listens.
    pub frontends: BTreeMap<Name, SocketAddr>,
    /// The number of slots each service's backend has.
    pub slots: u32,
    /// The number of threads HAProxy has.
    pub threads: u32,
    /// If `true`, slots get their addresses back from a server-state file at a start or reload.
    pub restored: bool,
    /// A folder for the files that it reads when it starts, and where a frontend listens that looks into a map there.
    pub routed: Option<(PathBuf, SocketAddr)>,
    /// The shape of the traffic in it.
    pub shape: Shape,
}

/// One server as HAProxy shows it, read apart from what is under test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// The backend.
    pub backend: String,
    /// The server.
    pub server: String,
    /// The address it points to.
    pub address: Option<SocketAddr>,
    /// HAProxy's administrative bits.
    pub admin: u32,
    /// HAProxy's operational state: 2 is running.
    pub operation: u32,
}

/// The server-state file.
const STATE: &str = "state";
/// The file of the route map.
const ROUTES: &str = "lb-routes.map";

/// The time HAProxy may take to answer.
const LIMIT: Duration = Duration::from_secs(10);

impl Haproxy {
    /// Starts `program` and waits until it answers.
    ///
    /// # Errors
    /// Fails if it cannot be started or does not answer: with what it wrote.
    pub async fn start(executable: Executable, setup: &Setup) -> Result<Self, TestbedError> {
        let directory = tempfile::Builder::new()
            .prefix("lb-")
            .tempdir()
            .map_err(|cause| TestbedError::io("make a directory for HAProxy", cause))?;
        let folder = directory.path();
        let files = match &setup.routed {
            Some((files, _)) => files.clone(),
            None => folder.to_owned(),
        };
        let config = folder.join("haproxy.cfg");
        let admin = folder.join("admin.sock");
        let version = executable.version().await?;
        fs::write(&config, configuration(setup, folder, &version)?)
            .map_err(|cause| TestbedError::io("write HAProxy's configuration", cause))?;
        let admin = SocketAddress::unix(admin)?;
        let options = HaproxyOptions::new(executable, config, admin, folder.join("master.sock"));
        let mut haproxy = Self {
            options,
            directory,
            files,
            running: None,
        };
        haproxy.restart().await?;
        Ok(haproxy)
    }

    /// Its runtime socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("admin.sock")
    }

    /// The master's socket.
    #[must_use]
    pub fn master(&self) -> PathBuf {
        self.directory.path().join("master.sock")
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.options.config.clone()
    }

    /// The server-state file that it restores slots from, if it is set up to.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.files.join(STATE)
    }

    /// The file of its route map, if it is set up to have one.
    #[must_use]
    pub fn routes(&self) -> PathBuf {
        self.files.join(ROUTES)
    }

    /// All servers of all backends as the server-state file has them; `None` when the file is not whole.
    ///
    /// # Errors
    /// Fails if it cannot be read.
    pub fn saved(&self) -> io::Result<Option<Vec<Slot>>> {
        let text = fs::read_to_string(self.state())?;
        Ok(parse_slots(&text).filter(|_| text.ends_with('\n')))
    }

    /// The program that runs.
    #[must_use]
    pub fn executable(&self) -> &Executable {
        &self.options.executable
    }

    /// Reloads it seamlessly.
    ///
    /// # Errors
    /// Fails if it does not run, or the reload fails.
    pub async fn reload(&mut self) -> Result<(), TestbedError> {
        let Some(running) = &mut self.running else {
            let cause = io::ErrorKind::NotFound.into();
            return Err(TestbedError::io("reload HAProxy", cause));
        };
        running.process.reload().await?;
        if let Some(worker) = running.process.processes().await?.current() {
            running.pid = worker.pid;
        }
        Ok(())
    }

    /// Starts it again, with all that was set at run time forgotten. Kills it before where it runs.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub async fn restart(&mut self) -> Result<(), TestbedError> {
        self.kill();
        let process = process::Haproxy::start(self.options.clone()).await?;
        let processes = process.processes().await?;
        let worker = processes.current().map(|worker| worker.pid);
        let pid = worker.ok_or_else(|| TestbedError::Answer {
            answer: format!("{processes:?}"),
        })?;
        self.running = Some(Worker { process, pid });
        Ok(())
    }

    /// Kills it at once, if it runs.
    pub fn kill(&mut self) {
        if let Some(Worker { process, pid }) = self.running.take() {
            // Killed, a frozen worker goes as well. The master ends with its worker, and is waited for here.
            let _gone = signal(pid, Signal::KILL);
            drop(process);
        }
    }

    /// Stops it where it is: nothing is answered, nothing refused, until [`thaw`](Self::thaw).
    ///
    /// # Errors
    /// Fails if it does not run.
    pub fn freeze(&self) -> Result<(), TestbedError> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// Fails if it does not run.
    pub fn thaw(&self) -> Result<(), TestbedError> {
        self.signal(Signal::CONT)
    }

    /// One command in a conversation of its own.
    ///
    /// # Errors
    /// Fails if it does not answer in time.
    pub async fn ask(&self, command: &str) -> Result<String, TestbedError> {
        let exchange = async {
            let mut stream = UnixStream::connect(self.socket()).await?;
            stream.write_all(format!("{command}\n").as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok(answer)
        };
        let answer = timeout(LIMIT, exchange)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        answer.map_err(|cause| TestbedError::io("ask HAProxy", cause))
    }

    /// All servers of all backends.
    ///
    /// # Errors
    /// Fails if it does not answer, or not with a table of servers.
    pub async fn slots(&self) -> Result<Vec<Slot>, TestbedError> {
        let answer = self.ask("show servers state").await?;
        parse_slots(&answer).ok_or(TestbedError::Answer { answer })
    }

    /// The number of idle connections it has to an address.
    ///
    /// # Errors
    /// Fails if it does not answer, or not with a table of connections.
    pub async fn idle(&self, address: SocketAddr) -> Result<u64, TestbedError> {
        let answer = self.ask("show servers conn").await?;
        parse_idle(&answer, address).ok_or(TestbedError::Answer { answer })
    }

    fn signal(&self, which: Signal) -> Result<(), TestbedError> {
        let sent = match &self.running {
            Some(worker) => signal(worker.pid, which),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        sent.map_err(|cause| TestbedError::io("signal HAProxy", cause))
    }
}

fn signal(pid: u32, signal: Signal) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or(io::ErrorKind::InvalidInput)?;
    Ok(kill_process(pid, signal)?)
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Slot {
    /// Returns `true` if new traffic goes there.
    #[must_use]
    pub fn serves(&self) -> bool {
        self.operation == 2 && self.admin & !0x04 == 0
    }
}

fn configuration(setup: &Setup, folder: &Path, version: &Version) -> Result<String, TestbedError> {
    let path: ConfigPath = folder.join("admin.sock").display().to_string().parse()?;
    let mut config = Config::new(path);
    config.global.nbthread = Some(setup.threads);
    let files = match &setup.routed {
        Some((files, address)) => {
            let routes = files.join(ROUTES);
            fs::write(&routes, "").map_err(|cause| TestbedError::io("make a map file", cause))?;
            let mut routed = Frontend::new(Name::from_text("routed"), Bind::Tcp(*address));
            routed.route_map = routes.display().to_string().parse().ok();
            config.frontends.push(routed);
            files
        }
        None => folder,
    };
    if setup.restored {
        let state = files.join(STATE);
        fs::write(&state, "").map_err(|cause| TestbedError::io("make a state file", cause))?;
        config.global.server_state_file = Some(state.display().to_string().parse()?);
    }
    let slot = Name::from_text("slot");
    for (service, address) in &setup.frontends {
        let slots = Slots::new(slot.clone(), setup.slots);
        setup
            .shape
            .add(&mut config, service, *address, slots, version);
    }
    Ok(config.render(version)?)
}

fn parse_idle(table: &str, address: SocketAddr) -> Option<u64> {
    let mut lines = table.lines();
    let header = lines.by_ref().find(|line| line.starts_with("# "))?;
    let at = header
        .split_whitespace()
        .skip(1)
        .position(|column| column == "idle_cur")?;
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let mut idle = 0;
    for line in lines {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if fields.get(2) == Some(&host.as_str()) && fields.get(3) == Some(&port.as_str()) {
            idle += fields.get(at)?.parse::<u64>().ok()?;
        }
    }
    Some(idle)
}

fn parse_slots(table: &str) -> Option<Vec<Slot>> {
    let mut lines = table.lines();
    let header = lines.by_ref().find(|line| line.starts_with("# "))?;
    let columns: Vec<&str> = header.split_whitespace().skip(1).collect();
    let column = |name| columns.iter().position(|column| *column == name);
    let (backend, server) = (column("be_name")?, column("srv_name")?);
    let (address, port) = (column("srv_addr")?, column("srv_port")?);
    let (admin, operation) = (column("srv_admin_state")?, column("srv_op_state")?);
    lines
        .filter(|line| !line.is_empty())
        .map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let field = |at: usize| fields.get(at).copied();
            let host = std::net::IpAddr::from_str(field(address)?).ok();
            let port = field(port)?.parse().ok()?;
            Some(Slot {
                backend: field(backend)?.to_owned(),
                server: field(server)?.to_owned(),
                address: host.map(|host| SocketAddr::new(host, port)),
                admin: field(admin)?.parse().ok()?,
                operation: field(operation)?.parse().ok()?,
            })
        })
        .collect()
}
