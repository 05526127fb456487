//! The texts that tell the state.

use std::fmt::Write as _;

use super::{
    command::{Answer, error},
    server::{INHERITED_MAINT, Op, Server},
    worker::{Backend, Worker},
};

const STATE: &str = "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight \
srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state \
bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord";
const STATE_MORE: &str = " srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port";

const STAT: &str = "# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,wredis,\
status,weight,act,bck,chkfail,chkdown,lastchg,downtime,qlimit,pid,iid,sid,throttle,lbtot,tracked,type,rate,rate_lim,\
rate_max,check_status,addr,mode,idle_conn_cur,safe_conn_cur,used_conn_cur,need_conn_est,";
const STAT_MORE: &str = "uweight,";

impl Worker {
    pub(super) fn show_info(&self) -> String {
        let uptime = self.now.saturating_sub(self.began).as_secs();
        let mut out = format!(
            "Name: HAProxy\nVersion: {}\nRelease_date: 2024/01/01\nNbthread: 1\nNbproc: 1\nProcess_num: 1\nPid: {}\n\
             Uptime: 0d 0h00m{:02}s\nUptime_sec: {uptime}\nMaxconn: 1000\nnode: simulated\nStopping: {}\n",
            self.profile.full(),
            self.pid,
            uptime % 60,
            u8::from(self.stopping),
        );
        if self.profile.from(2, 5) {
            let _ = writeln!(out, "Start_time_sec: {}", START + self.began.as_secs());
        }
        out
    }

    pub(super) fn show_backend(&self) -> String {
        let mut out = "# name\n".to_owned();
        for backend in &self.backends {
            let _ = writeln!(out, "{}", backend.name);
        }
        out
    }

    pub(super) fn show_servers_state(&self, name: &str) -> Answer {
        let more = self.profile.from(2, 4);
        let mut out = format!("1\n{STATE}{}\n", if more { STATE_MORE } else { "" });
        let shown = self.each_server(name, |backend, server| {
            let address = server
                .address
                .map_or_else(|| "-".to_owned(), |ip| ip.to_string());
            let since = self.now.saturating_sub(server.changed).as_secs();
            let check = &server.check;
            let _ = write!(
                out,
                "{} {} {} {} {address} {} {} {} {} {since} {} {} {} {} {} 0 0 {} {} -",
                backend.id,
                backend.name,
                server.id,
                server.name,
                server.op as u8,
                server.admin,
                server.weight,
                server.initial_weight,
                check.status,
                check.result,
                check.health,
                check.bits(),
                server.agent.bits(),
                server.fqdn.as_deref().unwrap_or("-"),
                server.port,
            );
            if more {
                let at = check
                    .address
                    .map_or_else(|| "-".to_owned(), |ip| ip.to_string());
                let _ = write!(out, " 0 {} {at} - {}", check.port, server.agent_port);
            }
            out.push('\n');
        });
        match shown {
            true => Answer::Dump(out),
            false => error("Can't find backend."),
        }
    }

    pub(super) fn show_servers_conn(&self, name: &str) -> Answer {
        let newest = self.profile.from(3, 3);
        // A server added at run time did not get the defaults of its pool.
        let forgets = !self.profile.from(3, 0);
        let mut out = format!(
            "# bkname/svname bkid/svid addr port - purge_delay {}used_cur used_max need_est {}unsafe_nb safe_nb \
             idle_lim idle_cur idle_per_thr[1]\n",
            if newest { "served " } else { "" },
            if newest { "idle_sess " } else { "" },
        );
        let shown = self.each_server(name, |backend, server| {
            let gauges = self.traffic.gauges(server.serial);
            let address = server
                .address
                .map_or_else(|| "-".to_owned(), |ip| ip.to_string());
            let used = gauges.used
                + if self.profile.from(2, 4) {
                    0
                } else {
                    gauges.glued
                };
            let idle = gauges.idle;
            let bare = server.dynamic && forgets;
            let _ = write!(
                out,
                "{}/{} {}/{} {address} {} - {} ",
                backend.name,
                server.name,
                backend.id,
                server.id,
                server.port,
                if bare { 0 } else { 5000 },
            );
            if newest {
                let _ = write!(out, "{} {used} 0 0 {} ", gauges.sessions, gauges.glued);
            } else {
                let _ = write!(out, "{used} 0 0 ");
            }
            let _ = match bare {
                true => writeln!(out, "0 0 0 {idle}"),
                false => writeln!(out, "{idle} 0 -1 {idle} {idle}"),
            };
        });
        match shown {
            true => Answer::Dump(out),
            false => error("Can't find backend."),
        }
    }

    /// `show stat PROXY TYPES SERVER`, where only servers are told.
    pub(super) fn show_stat(&self, rest: &[&str]) -> String {
        let more = if self.profile.from(2, 4) {
            STAT_MORE
        } else {
            ""
        };
        let mut out = format!("{STAT}{more}\n");
        let proxy = rest.first().copied().unwrap_or("-1");
        let server_id = rest.get(2).copied().unwrap_or("-1");
        let by_number = proxy.parse::<i64>().ok();
        for backend in &self.backends {
            let wanted = match by_number {
                Some(number) => number < 0 || number == i64::from(backend.id),
                None => backend.name == proxy,
            };
            if !wanted {
                continue;
            }
            for server in &backend.servers {
                if server_id == "-1" || server_id == server.id.to_string() {
                    self.stat_line(&mut out, backend, server);
                }
            }
        }
        out
    }

    fn stat_line(&self, out: &mut String, backend: &Backend, server: &Server) {
        let gauges = self.traffic.gauges(server.serial);
        // A server that tracks another one is told by the other's check.
        let followed = server
            .track
            .as_ref()
            .and_then(|(backend, name)| self.lookup(backend, name))
            .and_then(|at| self.server(at));
        let check = followed.map_or(&server.check, |followed| &followed.check);
        let rising = format!("{}/{}", check.health, check.rise);
        let falling = format!(
            "{}/{}",
            i32::from(check.health) + 1 - i32::from(check.rise),
            check.fall
        );
        let best = !check.enabled || check.health >= check.best();
        let status = match (server.is_maint(), server.op) {
            (true, _) => match &server.track {
                Some((backend, name)) if server.admin & INHERITED_MAINT != 0 => {
                    format!("MAINT (via {backend}/{name})")
                }
                _ => "MAINT".to_owned(),
            },
            (_, Op::Running) if server.is_drain() && best => "DRAIN".to_owned(),
            (_, Op::Running) if server.is_drain() => format!("DRAIN {falling}"),
            (_, Op::Running) if !check.enabled => "no check".to_owned(),
            (_, Op::Running) if best => "UP".to_owned(),
            (_, Op::Running) => format!("UP {falling}"),
            (_, Op::Stopping) if check.health == check.best() => "NOLB".to_owned(),
            (_, Op::Stopping) if !server.check.enabled && server.track.is_none() => {
                "NOLB".to_owned()
            }
            (_, Op::Stopping) => format!("NOLB {falling}"),
            (_, Op::Stopped) if check.health == 0 => "DOWN".to_owned(),
            (_, Op::Stopped) => format!("DOWN {rising}"),
        };
        let check = &server.check;
        let checked = match (check.runs() && !server.is_maint(), check.status) {
            (false, _) => "",
            (true, 6) => "L4OK",
            (true, 8) => "L4CON",
            (true, _) => "INI",
        };
        let address = match server.address {
            Some(ip) => std::net::SocketAddr::new(ip, server.port).to_string(),
            None if server.fqdn.is_some() => String::new(),
            None => "unix".to_owned(),
        };
        let since = self.now.saturating_sub(server.changed).as_secs();
        let used = gauges.used
            + if self.profile.from(2, 4) {
                0
            } else {
                gauges.glued
            };
        let _ = write!(
            out,
            "{},{},0,0,{},0,,0,0,0,,0,,0,0,0,0,{status},{},1,0,0,0,{since},0,,1,{},{},,0,,2,0,,0,{checked},{address},http,\
             {},0,{used},0,",
            backend.name,
            server.name,
            gauges.sessions,
            server.weight,
            backend.id,
            server.id,
            gauges.idle,
        );
        if self.profile.from(2, 4) {
            let _ = write!(out, "{},", server.weight);
        }
        out.push('\n');
    }

    /// Visits the servers of one backend, or of all; tells whether there is such a backend.
    fn each_server(&self, name: &str, mut visit: impl FnMut(&Backend, &Server)) -> bool {
        let mut shown = name.is_empty();
        for backend in self
            .backends
            .iter()
            .filter(|known| name.is_empty() || known.name == name)
        {
            shown = true;
            for server in &backend.servers {
                visit(backend, server);
            }
        }
        shown
    }
}

/// The simulated day's first second.
const START: u64 = 1_700_000_000;
