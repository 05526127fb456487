//! The page `SCHEMES.md`, made of the tables that the code uses. Compiled for tests alone, which end in a panic where the
//! page is stale.

use std::{fmt::Write, fs, path::Path};

use crate::{
    docker_flow, easy_haproxy,
    keys::{self, Key, Row},
    own, restricting, traefik, virtual_host,
};

const HEAD: &str = "# Schemes of labels and keys

What lb makes of the labels, variables and keys of other programs. The program that owns a scheme is its specification:
a key means here what it means there, or a diagnostic names it. This page is made of the tables that the code uses
(`UPDATE_GOLDEN=1 cargo test -p lb-schemes page`); the tables in `tests/golden` say what comes of whole objects. The layouts of
keys in etcd have [a page of their own](../../lb-etcd/LAYOUTS.md).

- **honoured**: it means what it means there.
- **reported**: it has no effect; a diagnostic names it.
- **withheld**: it restricts who may reach a route, or what the service is sent, and lb cannot do that. The routes it
  applies to are not served by any wider route either: their requests are answered with 503 (TCP: closed). A diagnostic
  names the key, never its value. `allow_unprotected = [\"KEY\"]` on the source gives the key up: its routes are then served
  without it, and a warning stays.

Of one object, at most 1,024 labels of these schemes with 256 KiB are read, and 1,024 routes; one that has more is left out
as a whole and reported once.

Programs read paths differently: Traefik and nginx resolve `//`, `.` and `..` and decode characters before they compare,
HAProxy and what is built on it do not, and some servers leave out what follows a `;`. Here a request is served if all of
these readings lead to the same route, and passed on as it was sent; otherwise it is refused with 400. So `//admin`,
`/%61dmin` and `/x/../admin` never pass a route of `/admin` by. The path of a rule is in normal form: with `%`, `;`, `//`,
`.` or `..` it is reported and has no route.

Traefik, docker-flow-proxy and nginx-proxy order their routes in their own ways: by the length of a rule or its `priority`,
by `aclName`, by server and location. Such an order counts among the routes of one scheme, of sources that share a `trust`.
Which scheme a request goes to is decided before that, by priorities that lb itself has (0 for all routes of these schemes)
and by what is more specific: the whole host before the wildcard before every host, then the longer path. So no length of a rule takes
a request from a more specific route of another scheme.

Options of a Docker or Swarm source that decide what labels mean:

| option | effect |
|---|---|
| `labels` | the schemes that are read; of an object that uses several, the first one listed counts. Default `[\"lb\"]` |
| `allow_unprotected` | keys (or kinds of middlewares, or names of plugins) that are given up. Default none |
| `entrypoints` | the entry points of Traefik that the target serves: `{ web = \"http\", mysql = \"tcp\", secure = \"https\" }`; also `\"both\"` (http and tcp) and `\"https_and_tcp\"`. Default `web` and `http`, each `\"both\"`, `websecure` and `https`, each `\"https_and_tcp\"`; a router of others is left out |
| `default_rule` | Traefik's default rule. Default: Traefik's own for objects with `traefik.enable=true`, none for others |
| `exposed_by_default` | `false`: only objects with `lb.enable=true` or `traefik.enable=true` count. Default `true` |
| `projects` | only these compose projects (Swarm: stacks). Default all |
| `constraints` | only objects whose labels it holds for: ``Label(`tier`, `public`) && !Label(`draft`)``. `LabelRegex` is refused: a source whose constraint cannot be read is not started. Default all |
| `networks` | only objects on one of these networks. Default all |
";

fn table(page: &mut String, title: &str, about: &str, keys: &[Key], prefix: &str) {
    let rows: Vec<Row<'_>> = keys.iter().map(|key| key.row(prefix)).collect();
    let table = keys::markdown(&rows);
    write!(page, "\n## {title}\n\n{about}\n\n{table}").unwrap();
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    table(
        &mut page,
        "Traefik",
        "Labels `traefik.*`; in etcd the same keys with `/` between their parts. Letter case does not count. `*` stands for a \
         name, `**` for the rest. A router with a matcher that routes cannot express (`Method`, `Header`, `Query`, `ClientIP`, \
         `PathRegexp`, `!`) is left out; if it is protected too, all that it may match is withheld, by its own priority and whatever service another router leads to: a matcher that cannot be expressed \
         counts as the domain that it ends in, or the path that it begins with, else as any. Where that is every host and path, all requests of the router's own service are withheld instead, and those that \
         other routers take are served though the rule may match them, which is reported. Two objects that define one \
         router differently lose it both, as there. A rule with an empty host or path, as an unset variable leaves it, is left out as a whole. \
         A path prefix also matches paths that continue its last segment, as there; where `StripPrefix` takes it off, these are answered with 503, and the others are passed on in normal form. \
         A router with TLS is for requests with TLS: those without are redirected to https, where Traefik finds no router for them; \
         that of two routers of one rule holds for both. Traefik leaves an object out that has a value it cannot decode (`priority=high`, `passhostheader=yes`, an empty number), and so it is here: what \
         it asks to be protected is withheld all the same, and in etcd only the router is left out, and a server keeps its last weight, or has 1. Traefik leaves an object out that has a key it does not know. Here, a key of a section that \
         there is not (`traefik.http.router.a.middlewares`), or of a service, with a name of what restricts withholds the router that it names, else \
         all that the object asks for; other unknown keys are reported. Middlewares of entry points are not seen from here.",
        traefik::KEYS,
        "traefik.",
    );
    table(
        &mut page,
        "docker-flow-proxy",
        "Labels `com.df.*` of Swarm services and containers. Letter case counts, as there: `com.df.ServiceDomain` is an unknown label, and one that would \
         narrow what is served (`com.df.ServicePath`) or protect it (`com.df.Users`) withholds its destinations. Of services, those with a path below `/.well-known` go first and \
         those with the root path last; within these they go by `aclName`, else by their names, as there. Hosts are compared as a whole, where docker-flow-proxy \
         compares their beginnings unless told otherwise. A path of `path_beg` also matches \
         paths that continue its last segment, as there; where `reqPathSearchReplace` takes it off (`/demo,`), these are answered with 503, with `/demo/,/` they are passed on as they are, as there. What a path is taken off is passed on in normal form. \
         A protected destination that cannot be read as a whole (`path_dir`, which may be anywhere in a path, another `pathType`, a header, a port that is none) withholds its domains with what can be read of the begins of its paths, and all other routes of its service; \
         where that would be every host and path, its service alone is withheld, and that is reported.",
        docker_flow::KEYS,
        "com.df.",
    );
    table(
        &mut page,
        "nginx-proxy",
        "Variables of containers, and the labels below `com.github.nginx-proxy.nginx-proxy.`. A file of passwords in the proxy's \
         folder cannot be seen from here. Containers that name one host are one server there: what restricts one of them, or redirects its \
         requests, holds for all. A path of a host that none of its containers has is not looked for at their wider hosts (`*.domain`): it is answered with 404, as there. A path also matches paths that continue its last segment, as there; where `VIRTUAL_DEST` takes it off, these are answered with 503, and the others are passed on in normal form, with codes as they were sent.",
        virtual_host::KEYS,
        "",
    );
    table(
        &mut page,
        "easyhaproxy",
        "Labels `easyhaproxy.DEFINITION.*` of containers. Where containers name one host and one of them serves it with TLS only, or \
         redirects its requests, requests of the host without TLS are redirected for all of them: they are one service here.",
        easy_haproxy::KEYS,
        "easyhaproxy.*.",
    );
    table(
        &mut page,
        "lb",
        &format!(
            "Labels `lb.*`, or `lb.NUMBER.*` for a container that serves several services. An unknown label is reported. One \
             whose name restricts, whatever the letter case of its prefix (`LB.auth`), withholds the routes of its number, or of the object, and leaves a service of TCP or without routes without \
             an endpoint, also where another value cannot be read. Of a route that cannot be read, the beginning of the path and the domain count then. \
             Names that restrict have {} in them, or begin or end with {}. So do names that may say what a route matches, which have {} in them \
             (`strip_prefix` is reported only), those that begin with `disable`, and those that are but for one letter or for separators one of {}.",
            words(&restricting::WITHIN),
            words(&restricting::AT_AN_END),
            words(&own::PLACES),
            words(&own::NARROWING),
        ),
        own::KEYS,
        "lb.",
    );
    page
}

fn words(all: &[&str]) -> String {
    let quoted: Vec<String> = all.iter().map(|word| format!("`{word}`")).collect();
    quoted.join(", ")
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
