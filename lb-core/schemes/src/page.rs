//! The page `SCHEMES.md`, made of the tables that the code uses.

use std::{fmt::Write, fs, path::Path};

use crate::{
    docker_flow, easy_haproxy,
    keys::{Effect, Key},
    traefik, virtual_host,
};

const HEAD: &str = "# Schemes of labels and keys

What lb makes of the labels, variables and keys of other programs. The program that owns a scheme is its specification:
a key means here what it means there, or a diagnostic names it. This page is made of the tables that the code uses
(`UPDATE_GOLDEN=1 cargo test -p lb-schemes page`); the tables in `tests/golden` say what comes of whole objects.

- **honoured**: it means what it means there.
- **reported**: it has no effect; a diagnostic names it.
- **withheld**: it restricts who may reach a route, or what the service is sent, and lb cannot do that. The routes it
  applies to are not served by any wider route either: their requests are answered with 503 (TCP: closed). A diagnostic
  names the key, never its value. `allow_unprotected = [\"KEY\"]` on the source gives the key up: its routes are then served
  without it, and a warning stays.

Of one object, at most 1,024 labels of these schemes with 256 KiB are read, and 1,024 routes; one that has more is left out
as a whole and reported once.

Options of a Docker or Swarm source that decide what labels mean:

| option | effect |
|---|---|
| `labels` | the schemes that are read; of an object that uses several, the first one listed counts. Default `[\"lb\"]` |
| `allow_unprotected` | keys (or kinds of middlewares, or names of plugins) that are given up. Default none |
| `entrypoints` | the entry points of Traefik that the target serves: `{ web = \"http\", mysql = \"tcp\", websecure = \"both\" }`. Default `web`, `websecure`, `http`, `https`, each `\"both\"`; a router of others is left out |
| `default_rule` | Traefik's default rule. Default: Traefik's own for objects with `traefik.enable=true`, none for others |
| `exposed_by_default` | `false`: only objects with `lb.enable=true` or `traefik.enable=true` count. Default `true` |
| `projects` | only these compose projects (Swarm: stacks). Default all |
| `constraints` | only objects whose labels it holds for: ``Label(`tier`, `public`) && !Label(`draft`)``. Default all |
| `networks` | only objects on one of these networks. Default all |
";

fn table(page: &mut String, title: &str, about: &str, keys: &[Key], prefix: &str) {
    writeln!(
        page,
        "\n## {title}\n\n{about}\n\n| key | | |\n|---|---|---|"
    )
    .unwrap();
    for effect in [Effect::Honoured, Effect::Withheld, Effect::Reported] {
        let word = match effect {
            Effect::Honoured => "honoured",
            Effect::Reported => "reported",
            Effect::Withheld => "withheld",
        };
        for key in keys.iter().filter(|key| key.effect == effect) {
            let note = key.note.replace('|', "\\|");
            writeln!(page, "| `{prefix}{}` | {word} | {note} |", key.key).unwrap();
        }
    }
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    table(
        &mut page,
        "Traefik",
        "Labels `traefik.*`; in etcd the same keys with `/` between their parts. Letter case does not count. `*` stands for a \
         name, `**` for the rest. A router with a matcher that routes cannot express (`Method`, `Header`, `Query`, `ClientIP`, \
         `PathRegexp`, `!`) is left out; if it is protected too, all that it may match is withheld. Two objects that define one \
         router differently lose it both, as there. An empty host, as an unset variable leaves it, matches nothing. \
         A path prefix also matches paths that continue its last segment, as there; one that `StripPrefix` takes off ends at the border of a segment.",
        traefik::KEYS,
        "traefik.",
    );
    table(
        &mut page,
        "docker-flow-proxy",
        "Labels `com.df.*` of Swarm services and containers. Of services, those with a path below `/.well-known` go first and \
         those with the root path last; within these, the longer path goes first, where docker-flow-proxy goes by `aclName`. A path of `path_beg` also matches \
         paths that continue its last segment, as there; one that `reqPathSearchReplace` takes off ends at the border of a segment.",
        docker_flow::KEYS,
        "com.df.",
    );
    table(
        &mut page,
        "nginx-proxy",
        "Variables of containers, and the labels below `com.github.nginx-proxy.nginx-proxy.`. A file of passwords in the proxy's \
         folder cannot be seen from here. A path also matches paths that continue its last segment, as there; one that `VIRTUAL_DEST` takes off ends at the border of a segment.",
        virtual_host::KEYS,
        "",
    );
    table(
        &mut page,
        "easyhaproxy",
        "Labels `easyhaproxy.DEFINITION.*` of containers.",
        easy_haproxy::KEYS,
        "easyhaproxy.*.",
    );
    page
}

#[test]
fn the_page_says_what_the_tables_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("SCHEMES.md");
    let made = page();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &made).unwrap();
    }
    assert!(
        fs::read_to_string(&path).is_ok_and(|found| found == made),
        "SCHEMES.md is not what the tables say; UPDATE_GOLDEN=1 writes it"
    );
}
