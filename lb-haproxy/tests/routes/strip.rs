//! Prefixes that rules of other programs take off: what is left is what the program leaves, or nothing is served.

use lb_core::{
    Name,
    model::{leads_to_none, withheld},
};
use lb_haproxy::routes::compile_http;
use lb_schemes::LabelScheme;

use crate::{bed::*, matchers::routes_of, support::executables};

/// S11, S12: StripPrefix of Traefik, the rewrite of docker-flow-proxy, `VIRTUAL_DEST=/` of nginx-proxy, beside a wider route.
#[tokio::test]
async fn case_s11_s12_prefixes_are_taken_off_as_their_programs_do() {
    let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        let owned = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        owned.collect()
    };
    let mut routes = routes_of(
        LabelScheme::Traefik,
        &pairs(&[
            (
                "traefik.http.routers.a.rule",
                "Host(`t.example`) && PathPrefix(`/api`)",
            ),
            ("traefik.http.routers.a.middlewares", "strip"),
            (
                "traefik.http.middlewares.strip.stripprefix.prefixes",
                "/api",
            ),
        ]),
        1,
    );
    routes.extend(routes_of(
        LabelScheme::DockerFlow,
        &pairs(&[
            ("com.df.notify", "true"),
            ("com.df.port", "80"),
            ("com.df.serviceDomain", "d.example"),
            ("com.df.servicePath", "/demo"),
            ("com.df.reqPathSearchReplace", "/demo/,/"),
        ]),
        1,
    ));
    routes.extend(routes_of(
        LabelScheme::VirtualHost,
        &pairs(&[
            ("VIRTUAL_HOST", "n.example"),
            ("VIRTUAL_PATH", "/app/"),
            ("VIRTUAL_DEST", "/"),
        ]),
        1,
    ));
    for route in &mut routes {
        if !leads_to_none(&route.service) {
            route.service = "echo".parse().unwrap();
        }
    }
    routes.push(route("*", "/", "s0", -9));
    let backend = |service: &Name| (*service != withheld()).then(|| service.clone());
    let map = compile_http(&routes, backend).map;
    for executable in executables() {
        let bed = Bed::start(&executable, &map, &["echo", "s0"]).await;
        let mut browser = Browser::connect(bed.http).await;
        for (host, path, answer) in [
            ("t.example", "/api", "/api>/"),
            ("t.example", "/api/", "/api>/"),
            ("t.example", "/api/v1//x", "/api>/v1/x"),
            ("t.example", "/apix", "503"),
            ("t.example", "/ap", "s0"),
            ("d.example", "/demo/v1", "/demo>/v1"),
            ("d.example", "/demo/demo/v1", "/demo>/demo/v1"),
            ("d.example", "/demo", ">/demo"),
            ("d.example", "/demonstration", ">/demonstration"),
            ("n.example", "/app/v1", "/app>/v1"),
            ("n.example", "/app/", "/app>/"),
            ("n.example", "/apply", "s0"),
        ] {
            let version = &bed.capabilities.version;
            assert_eq!(
                browser.ask(host, path).await,
                answer,
                "{version:?}: {host}{path}"
            );
        }
        bed.haproxy.stop().await.unwrap();
    }
}
