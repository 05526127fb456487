//! A source that reads some of the containers only.

use lb_schemes::LabelScheme;

use super::{book, container, labels, printed};
use crate::narrow::Narrow;

#[test]
fn case_s16_a_source_is_narrowed_by_project_label_and_network() {
    let of = |project: &str, tier: &str| {
        labels(&[
            ("com.docker.compose.project", project),
            ("com.docker.compose.service", "web"),
            ("com.docker.compose.container-number", "1"),
            ("tier", tier),
            ("lb.routes", &format!("{project}.example")),
        ])
    };
    let all = || {
        [
            (1, "front", of("shop", "public")),
            (2, "front", of("blog", "public")),
            (3, "back", of("wiki", "draft")),
        ]
    };
    let narrows = [
        (Narrow::default(), vec!["blog", "shop", "wiki"]),
        (
            Narrow {
                projects: vec!["shop".to_owned()],
                ..Narrow::default()
            },
            vec!["shop"],
        ),
        (
            Narrow {
                constraints: Some("!Label(`tier`, `draft`)".parse().unwrap()),
                ..Narrow::default()
            },
            vec!["blog", "shop"],
        ),
        (
            Narrow {
                networks: vec!["back".to_owned()],
                ..Narrow::default()
            },
            vec!["wiki"],
        ),
    ];
    for (narrow, expected) in narrows {
        let mut book = book(LabelScheme::Lb, narrow.clone());
        for (number, network, labels) in all() {
            let pairs = labels
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str()));
            if book.rules().claims(pairs) {
                book.put(container(number, network, &labels), None);
            }
        }
        let (records, diagnostics) = book.snapshot();
        let projects: Vec<String> = printed(&records)
            .iter()
            .filter_map(|record| record.split('-').next().map(str::to_owned))
            .collect();
        assert_eq!(projects, expected, "{narrow:?}");
        assert_eq!(diagnostics, []);
    }
}
