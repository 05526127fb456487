//! Random commands: mostly sensible, some wrong, some together on a line.

pub(crate) struct Commands {
    state: u64,
}

impl Commands {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next line, or line and payload, without the last line feed.
    pub(crate) fn next(&mut self) -> String {
        match self.below(100) {
            0..84 => self.command(),
            84..95 => {
                // Since 2.9 an address takes effect at any moment after its reply. Only the very next command is sure not
                // to see it: another address is then compared with the one not yet replaced.
                let count = 2 + self.below(3);
                let all: Vec<String> = match self.below(4) {
                    0 => vec![self.good_address(), self.good_address()],
                    _ => (0..count).map(|_| self.command_without_address()).collect(),
                };
                all.join(";")
            }
            95 => format!("{};", self.command()),
            96 => format!(" ;{}", self.command()),
            97 => format!("  {} ", self.command().replace(' ', "  ")),
            98 => String::new(),
            _ => self.payload(),
        }
    }

    fn command_without_address(&mut self) -> String {
        loop {
            let command = self.command();
            if !command.contains(" addr ") {
                return command;
            }
        }
    }

    fn command(&mut self) -> String {
        match self.below(100) {
            0..14 => self.address(),
            14..36 => format!(
                "set server {} state {}",
                self.server(),
                self.pick(&[
                    "ready", "drain", "maint", "ready", "maint", "drain", "foo", ""
                ])
            ),
            36..46 => format!(
                "set server {} health {}",
                self.server(),
                self.pick(&["up", "down", "stopping", "up", "down", "foo", ""])
            ),
            46..54 => format!("set server {} weight {}", self.server(), self.weight()),
            54 => format!("set weight {} {}", self.server(), self.weight()),
            55..57 => format!("get weight {}", self.server()),
            57..60 => format!("set server {} check-port {}", self.server(), self.port()),
            60 => format!(
                "set server {} check-addr {}",
                self.server(),
                self.pick(&[
                    "127.0.0.9",
                    "127.0.0.8 port 81",
                    "foo",
                    "",
                    "::1",
                    "127.0.0.7 port x",
                    "127.0.0.7 port 99999"
                ])
            ),
            61 => format!(
                "{} server {}",
                self.pick(&["enable", "disable"]),
                self.server()
            ),
            62..65 => {
                // 2.2 enables even the check of a server that has none and tracks another one.
                let server = self.server().replace("delta/t1", "beta/slot1");
                format!("{} health {server}", self.pick(&["enable", "disable"]))
            }
            65 => format!("shutdown sessions server {}", self.server()),
            66..70 => self.add_server(),
            70..73 => format!("del server {}", self.server()),
            73 => format!("wait 1ms srv-removable {}", self.server()),
            74..78 => format!("add map {} {} {}", self.map(), self.key(), self.value()),
            78..80 => format!(
                "set map {} {} {}",
                self.plain_map(),
                self.key(),
                self.value()
            ),
            80..83 => format!("del map {} {}", self.plain_map(), self.key()),
            83 => format!("get map {} {}", self.plain_map(), self.key()),
            84..86 => format!("prepare map {}", self.plain_map()),
            86..88 => format!("commit map {}", self.map()),
            88 => format!("clear map {}", self.map()),
            89..91 => format!("show map {}", self.map()),
            91 => "show backend".to_owned(),
            92..95 => format!("show servers state {}", self.backend()),
            95 => format!("show servers conn {}", self.backend()),
            96 => "show cli level".to_owned(),
            97 => format!("set server {}", self.server()),
            98 => format!(
                "set severity-output {}",
                self.pick(&["number", "number", "string", "none", "foo"])
            ),
            _ => self
                .pick(&[
                    "foo",
                    "show",
                    "set",
                    "get weight",
                    "set timeout cli 1h",
                    "set timeout cli 0",
                    "set timeout",
                    "del server",
                    "wait",
                    "wait x",
                    "wait 1 foo",
                ])
                .to_owned(),
        }
    }

    fn address(&mut self) -> String {
        let server = self.server();
        let address = self.pick(&[
            "127.0.0.1",
            "127.0.0.2",
            "10.0.0.1",
            "fd00::1",
            "127.0.0.1",
            "10.0.0.2",
            "foo",
            "300.1.1.1",
            "",
        ]);
        match self.below(8) {
            0 => format!("set server {server} addr {address}"),
            1 => format!("set server {server} addr {address} 9000"),
            _ => format!("set server {server} addr {address} port {}", self.port()),
        }
    }

    fn good_address(&mut self) -> String {
        let address = self.pick(&["127.0.0.1", "127.0.0.2", "10.0.0.1", "fd00::1"]);
        let port = self.pick(&["1", "80"]);
        format!("set server gamma/s1 addr {address} port {port}")
    }

    fn add_server(&mut self) -> String {
        let server = self.server();
        let address = self.pick(&[
            "127.0.0.1:80",
            "10.0.0.1:8080",
            "[fd00::1]:80",
            "127.0.0.1:99999",
            "",
        ]);
        let settings = self.pick(&[
            "",
            "",
            "weight 5",
            "check inter 24h",
            "check inter 24h rise 1 fall 2",
            "weight 300",
            "frobnicate",
            "check inter 24h weight 7 port 81",
        ]);
        format!("add server {server} {address} {settings}")
    }

    fn payload(&mut self) -> String {
        let count = 1 + self.below(3);
        let mut text = format!("add map {} <<\n", self.map());
        for _ in 0..count {
            text.push_str(&format!("{} {}\n", self.key(), self.value()));
        }
        text
    }

    fn server(&mut self) -> &'static str {
        self.pick(&[
            "alpha/slot1",
            "alpha/slot2",
            "alpha/slot3",
            "beta/slot1",
            "beta/slot2",
            "beta/slot3",
            "beta/slot1",
            "gamma/s1",
            "gamma/s2",
            "gamma/u",
            "delta/t1",
            "alpha/d1",
            "beta/d1",
            "beta/d2",
            "alpha/none",
            "none/slot1",
            "fe/x",
            "alpha",
        ])
    }

    fn backend(&mut self) -> &'static str {
        self.pick(&["", "alpha", "beta", "gamma", "delta", "none"])
    }

    fn weight(&mut self) -> &'static str {
        self.pick(&[
            "0", "1", "5", "10", "20", "256", "257", "50%", "100%", "0%", "10000%", "-1", "-1%",
            "x", "5x", "",
        ])
    }

    fn port(&mut self) -> &'static str {
        self.pick(&[
            "1", "80", "8080", "80", "0", "65535", "65536", "70000", "12x", "x", "",
        ])
    }

    fn key(&mut self) -> &'static str {
        self.pick(&["k1", "k2", "k3", "k1", "k4"])
    }

    fn value(&mut self) -> &'static str {
        self.pick(&["v1", "v2", "v3", "v4"])
    }

    fn plain_map(&mut self) -> &'static str {
        self.pick(&["DIR/a.map", "DIR/b.map", "DIR/a.map", "none"])
    }

    fn map(&mut self) -> String {
        let map = self.plain_map();
        match self.below(3) {
            0 => map.to_owned(),
            _ => {
                let near = self.below(8);
                format!("@{near} {map}")
            }
        }
    }

    fn pick(&mut self, choices: &[&'static str]) -> &'static str {
        let at = usize::try_from(self.below(choices.len() as u64)).unwrap();
        choices[at]
    }

    fn below(&mut self, bound: u64) -> u64 {
        // splitmix64
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
