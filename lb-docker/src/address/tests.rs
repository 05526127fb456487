use std::{collections::BTreeSet, net::IpAddr};

use proptest::prelude::*;

use super::*;
use crate::{
    config::Family,
    container::{Attached, NetworkMode, Published},
};

fn reach(viewpoint: Viewpoint) -> Reach {
    Reach {
        viewpoint,
        network: None,
        node_address: None,
        family: Family::V4,
    }
}

fn networks() -> Networks {
    [
        ("bridge", "bridge", false, false),
        ("shop_back", "bridge", true, false),
        ("shop_front", "bridge", false, false),
        ("mesh", "overlay", false, false),
        ("ingress", "overlay", false, true),
        ("lan", "macvlan", false, false),
    ]
    .map(|(name, driver, internal, ingress)| {
        (
            format!("id-of-{name}-network"),
            Network {
                name: name.to_owned(),
                driver: driver.to_owned(),
                internal,
                ingress,
            },
        )
    })
    .into()
}

fn on(network: &str, address: &str) -> Attached {
    let address: IpAddr = address.parse().unwrap();
    Attached {
        network: network.to_owned(),
        network_id: format!("id-of-{network}-network"),
        v4: Some(address).filter(IpAddr::is_ipv4),
        v6: Some(address).filter(IpAddr::is_ipv6),
    }
}

fn published(host_ip: &str, host_port: u16) -> Published {
    Published {
        port: 80,
        host_ip: host_ip.parse().unwrap(),
        host_port,
    }
}

fn pick(
    attachments: &[Attached],
    published: &[Published],
    want: Want<'_>,
    reach: &Reach,
) -> AddressChoice {
    let place = Place {
        mode: &NetworkMode::Own,
        attachments,
        exposed: &[80].into(),
        published,
        project: Some("shop"),
    };
    choose(&place, want, &networks(), reach)
}

fn chosen(choice: &AddressChoice) -> Option<String> {
    choice.address.map(|address| address.to_string())
}

#[test]
fn the_host_never_uses_an_overlay_address() {
    let mesh = [on("mesh", "10.0.2.5")];
    let host = reach(Viewpoint::Host);
    let refused = pick(&mesh, &[], Want::default(), &host);
    assert_eq!(refused.address, None);
    assert!(
        refused.to_string().contains("no route into an overlay"),
        "{refused}"
    );
    let named = Want {
        network: Some("mesh"),
        ..Want::default()
    };
    assert_eq!(
        pick(&mesh, &[], named, &host).address,
        None,
        "not even when asked"
    );
    let through_port = pick(
        &mesh,
        &[published("0.0.0.0", 32768)],
        Want::default(),
        &host,
    );
    assert_eq!(chosen(&through_port).as_deref(), Some("127.0.0.1:32768"));
    let unknown = [on("new", "10.0.9.9")];
    assert_eq!(pick(&unknown, &[], Want::default(), &host).address, None);
}

#[test]
fn a_label_names_its_network_with_or_without_prefix_or_by_id() {
    let attachments = [on("bridge", "172.17.0.2"), on("shop_back", "172.18.0.2")];
    let host = reach(Viewpoint::Host);
    for network in [
        "shop_back",
        "back",
        "id-of-shop_back-network",
        "id-of-shop_b",
    ] {
        let want = Want {
            network: Some(network),
            ..Want::default()
        };
        let choice = pick(&attachments, &[], want, &host);
        assert_eq!(
            chosen(&choice).as_deref(),
            Some("172.18.0.2:80"),
            "{network}"
        );
    }
    let want = Want {
        network: Some("front"),
        ..Want::default()
    };
    let choice = pick(&attachments, &[published("0.0.0.0", 1)], want, &host);
    assert_eq!(
        choice.address, None,
        "a requested address is never replaced by a guess"
    );
    assert!(choice.to_string().contains("\"front\""), "{choice}");
}

#[test]
fn from_a_container_only_shared_networks_are_used() {
    let attachments = [on("bridge", "172.17.0.2"), on("shop_back", "172.18.0.2")];
    let inside = reach(Viewpoint::Container {
        networks: ["id-of-shop_back-network".to_owned()].into(),
    });
    let choice = pick(&attachments, &[], Want::default(), &inside);
    assert_eq!(chosen(&choice).as_deref(), Some("172.18.0.2:80"));
    let apart = reach(Viewpoint::Container {
        networks: BTreeSet::new(),
    });
    assert_eq!(
        pick(&attachments, &[], Want::default(), &apart).address,
        None
    );
}

#[test]
fn host_ports_follow_the_family_of_their_binding() {
    let ports = [published("0.0.0.0", 32793), published("::", 32786)];
    let host = reach(Viewpoint::Host);
    let v4 = pick(&[], &ports, Want::default(), &host);
    assert_eq!(chosen(&v4).as_deref(), Some("127.0.0.1:32793"));
    let v6 = Reach {
        family: Family::V6,
        ..host.clone()
    };
    let v6 = pick(&[], &ports, Want::default(), &v6);
    assert_eq!(chosen(&v6).as_deref(), Some("[::1]:32786"));
    let elsewhere = Reach {
        node_address: Some("192.0.2.9".parse().unwrap()),
        ..reach(Viewpoint::Elsewhere)
    };
    let far = pick(
        &[on("bridge", "172.17.0.2")],
        &ports,
        Want::default(),
        &elsewhere,
    );
    assert_eq!(chosen(&far).as_deref(), Some("192.0.2.9:32793"));
    let loopback = [published("127.0.0.1", 8080)];
    assert_eq!(
        pick(&[], &loopback, Want::default(), &elsewhere).address,
        None
    );
}

#[test]
fn the_port_is_named_or_the_only_one_or_an_error_that_lists_them() {
    assert_eq!(port(Some(81), &[80].into()).unwrap().0, 81);
    assert_eq!(port(None, &[80].into()).unwrap().0, 80);
    assert!(port(None, &BTreeSet::new()).is_err());
    let error = port(None, &[80, 8080].into()).unwrap_err();
    assert!(error.contains("80, 8080"), "{error}");
}

proptest! {
    #[test]
    fn p13_the_order_of_facts_never_changes_the_choice(
        mut order in Just(vec![0usize, 1, 2, 3, 4]).prop_shuffle(),
        inside: bool,
    ) {
        let all = [
            on("bridge", "172.17.0.2"),
            on("shop_front", "172.18.0.2"),
            on("mesh", "10.0.2.5"),
            on("ingress", "10.0.0.5"),
            on("lan", "192.0.2.7"),
        ];
        let from = reach(if inside {
            Viewpoint::Container { networks: networks().into_keys().collect() }
        } else {
            Viewpoint::Host
        });
        let sorted = pick(&all, &[], Want::default(), &from);
        let shuffled: Vec<_> = order.drain(..).map(|at| all[at].clone()).collect();
        prop_assert_eq!(pick(&shuffled, &[], Want::default(), &from), sorted);
    }
}
