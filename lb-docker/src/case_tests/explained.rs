//! The explanation of one container.

use lb_schemes::LabelScheme;

use super::{book, container, labels, networks};
use crate::{
    address::{Reach, Viewpoint},
    config::Family,
    explain::Explanation,
    narrow::Narrow,
    translate::{Fate, translate},
};

#[test]
fn an_explanation_shows_routes_and_why_one_is_withheld() {
    let book = book(LabelScheme::Traefik, Narrow::default());
    let asked = labels(&[
        ("traefik.http.routers.a.rule", "Host(`a.example`)"),
        (
            "traefik.http.routers.b.rule",
            "Host(`b.example`) && PathPrefix(`/x`)",
        ),
        ("traefik.http.routers.b.middlewares", "lock"),
        (
            "traefik.http.middlewares.lock.basicauth.users",
            "joe:s3cret",
        ),
        ("traefik.http.services.web.loadbalancer.server.port", "80"),
    ]);
    let found = container(1, "front", &asked);
    let reach = Reach {
        viewpoint: Viewpoint::Host,
        network: None,
        node_address: None,
        family: Family::V4,
    };
    let translation = translate(
        &found,
        None,
        Fate::Stays,
        book.rules(),
        &networks(),
        &reach,
        None,
        |_| None,
    );
    let explained = Explanation::new(found.object(), "from here".to_owned(), translation);
    let text = explained.to_string();
    let routes: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("route"))
        .collect();
    assert_eq!(
        routes,
        [
            "route a.example/ to service web",
            "route b.example/x withheld: answered with 503 (TCP: closed) because of traefik.http.routers.b.middlewares",
            "route b.example^/x withheld: answered with 503 (TCP: closed) because of traefik.http.routers.b.middlewares",
        ],
        "{text}"
    );
    assert!(!text.contains("s3cret"), "{text}");
}
