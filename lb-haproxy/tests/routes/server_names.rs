//! TLS connections go by their server names.

use std::{fmt::Write as _, net::SocketAddr};

use lb_core::{Mode, Name};
use lb_haproxy::{
    capability::Capabilities,
    config::{Bind, Config, Frontend},
    driver::converge_map,
    proto::MapName,
    routes::compile_sni,
};

use crate::{
    bed::*,
    handshake::{client_hello, dial, tcp_server},
    support::{Place, executables, free_port},
};

#[tokio::test]
async fn connections_go_where_their_server_name_says() {
    for executable in executables() {
        let version = executable.version().await.unwrap();
        let capabilities = Capabilities::of(version.major().into(), version.minor().into());
        let place = Place::new("");
        let dir = place.dir.path();
        let map: MapName = dir.join("sni.map").to_str().unwrap().parse().unwrap();
        let mut routes = vec![
            route("db.example", "/", "one", 0),
            route("*.example", "/", "two", 0),
            route("*.a.b.c.d.e.example", "/", "three", 0),
            route("none.example", "/", "none", 0),
        ];
        let backend = |service: &Name| (service.as_str() != "none").then(|| service.clone());
        let compiled = compile_sni(&routes, backend).map;
        std::fs::write(map.as_str(), compiled.file_text()).unwrap();
        let port = free_port();
        let mut config = Config::new(place_path(&place, "admin.sock"));
        let bind = Bind::Tcp(([127, 0, 0, 1], port).into());
        let mut main = Frontend::new("main".parse().unwrap(), bind);
        main.mode = Mode::Tcp;
        main.route_map = Some(map.clone());
        config.frontends.push(main);
        let mut config = config.render(&version).unwrap();
        for name in ["one", "two", "three", "rest"] {
            let server = tcp_server(name).await;
            writeln!(config, "backend {name}\n  mode tcp\n  server s {server}").unwrap();
        }
        std::fs::write(&place.config, config).unwrap();
        let haproxy = place.start(&executable).await;
        let front: SocketAddr = ([127, 0, 0, 1], port).into();
        let names = [
            ("db.example", "one"),
            ("DB.Example", "one"),
            ("x.db.example", "two"),
            ("other.example", "two"),
            ("x.a.b.c.d.e.example", "three"),
            ("1.2.3.4.5.6.7.a.b.c.d.e.example", "three"),
            ("a.b.c.d.e.example", "two"),
            ("none.example", ""),
        ];
        for (name, answer) in names {
            assert_eq!(dial(front, &client_hello(name)).await, answer, "{name}");
        }
        for unknown in ["example", "unknown", ""] {
            assert_eq!(dial(front, &client_hello(unknown)).await, "", "{unknown}");
        }
        assert_eq!(dial(front, b"hello\r\n").await, "");

        routes.push(route("*", "/", "rest", 0));
        let wanted = compile_sni(&routes, backend).map;
        let mut client = haproxy.connect().await.unwrap();
        converge_map(&mut client, &map, &wanted, &capabilities)
            .await
            .unwrap();
        for (name, answer) in names {
            assert_eq!(dial(front, &client_hello(name)).await, answer, "{name}");
        }
        for other in ["example", "unknown", ""] {
            assert_eq!(dial(front, &client_hello(other)).await, "rest", "{other}");
        }
        assert_eq!(dial(front, b"hello\r\n").await, "rest", "no handshake");
        haproxy.stop().await.unwrap();
    }
}
