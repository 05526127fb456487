//! A HAProxy of so many backends of so many slots.

use std::{fmt::Write as _, net::SocketAddr};

use lb_core::testkit::free_port;
use lb_haproxy::process::{Executable, Haproxy, HaproxyOptions};
use tempfile::TempDir;

/// A running HAProxy and the folder it lives in.
#[derive(Debug)]
pub struct Subject {
    pub haproxy: Haproxy,
    /// The address of the first backend's frontend.
    pub frontend: SocketAddr,
    _folder: TempDir,
}

impl Subject {
    pub async fn start(backends: usize, slots: usize) -> Result<Self, Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let admin = folder.path().join("admin.sock");
        let mut config = format!(
            "global\n  stats socket {} mode 600 level admin expose-fd listeners\n  stats timeout 1h\n\
             defaults\n  mode http\n  timeout client 10s\n  timeout server 10s\n  timeout connect 2s\n",
            admin.display()
        );
        let frontend = free_port()?;
        write!(
            config,
            "frontend users\n  bind {frontend}\n  default_backend be0\n"
        )?;
        for backend in 0..backends {
            write!(
                config,
                "backend be{backend}\n  balance roundrobin\n  \
                 server-template slot 1-{slots} 127.0.0.1:1 disabled weight 100\n"
            )?;
        }
        let path = folder.path().join("haproxy.cfg");
        std::fs::write(&path, config)?;
        let options = HaproxyOptions::new(
            Executable::find(None)?,
            path,
            admin.display().to_string().parse()?,
            folder.path().join("master.sock"),
        );
        Ok(Self {
            haproxy: Haproxy::start(options).await?,
            frontend,
            _folder: folder,
        })
    }
}
