//! Names of sections, maps, and configurations without slots.

use std::sync::Arc;

use lb_core::{Driver as _, Endpoint, Snapshot};
use lb_haproxy::{
    HaproxyDriver, TargetConfig,
    config::lint::{Code, ConfigFile, LintOptions, map_files},
};

use crate::{
    support::executables,
    world::{World, always, found, found_with, prepare, shows, starts, with_backend, with_lines},
};

#[tokio::test]
async fn a_frontend_and_a_backend_of_one_name_are_refused_from_3_3_on() {
    for executable in executables() {
        let version = executable.version().await.unwrap();
        let good = with_lines("");
        let bad = good.replace("frontend in", "frontend b");
        // Older ones are warned of what comes.
        assert_eq!(found(&bad, &version), [Code::NameTwice]);
        assert_eq!(found(&good, &version), []);
        assert_eq!(starts(&executable, &bad).await, !version.at_least(3, 3));
        assert!(starts(&executable, &good).await);
    }
}

#[tokio::test]
async fn without_its_map_file_haproxy_does_not_start() {
    let text = with_lines("").replace(
        "default_backend b",
        "use_backend %[path,map_beg(DIR/routes.map,b)]",
    );
    for executable in executables() {
        let version = executable.version().await.unwrap();
        let (place, _) = prepare(&text);
        let config = std::fs::read_to_string(&place.config).unwrap();
        let file = ConfigFile {
            name: "haproxy.cfg",
            text: &config,
        };
        let mut options = LintOptions::default();
        options.version = Some(version.clone());
        let missing = |files: Vec<String>| -> std::collections::BTreeSet<String> {
            files
                .into_iter()
                .filter(|file| !std::path::Path::new(file).exists())
                .collect()
        };
        options.missing = missing(map_files(&[file]));
        assert_eq!(found_with(&config, &options), [Code::MapMissing]);
        let refused = lb_haproxy::process::check_config(&executable, &place.config).await;
        assert!(
            refused.unwrap_err().to_string().contains("routes.map"),
            "{version}"
        );

        std::fs::write(place.dir.path().join("routes.map"), "").unwrap();
        options.missing = missing(map_files(&[file]));
        assert_eq!(found_with(&config, &options), []);
        place.start(&executable).await;
    }
}

#[tokio::test]
async fn without_slots_an_endpoint_stays_unmet() {
    let name = |text: &str| text.parse().unwrap();
    let mut edit = Snapshot::default().edit();
    let endpoint = Endpoint::new("127.0.0.1:20001".parse().unwrap());
    edit.set_endpoint(&name("b"), &name("1"), endpoint);
    let desired = Arc::new(edit.commit().unwrap());
    shows(
        Code::NoSlots,
        &with_backend("  balance roundrobin\n"),
        &with_lines(""),
        always,
        async |executable, text| {
            let world = World::start(executable, text).await;
            let socket = world.place.dir.path().join("admin.sock");
            let socket = socket.display().to_string().parse().unwrap();
            let mut driver = HaproxyDriver::new(TargetConfig::new(name("edge"), socket));
            loop {
                let report = driver.converge(&desired).await.unwrap();
                if report.converged {
                    return !report.unmet.is_empty();
                }
                tokio::time::sleep(report.again.unwrap_or_default()).await;
            }
        },
    )
    .await;
}
