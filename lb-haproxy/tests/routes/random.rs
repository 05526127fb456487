//! Random requests: hosts and paths in every form.

/// Numbers that repeat.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % bound
    }

    pub(crate) fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}

/// A host as some client writes it, and as it is meant; none where it is no host.
pub(crate) fn host(random: &mut Random) -> (String, String) {
    let name = random.one(&[
        "shop.example",
        "api.shop.example",
        "x.api.shop.example",
        "b.example",
        "x.b.example",
        "example",
        "a.b.c.d.e.f.g.example",
        "x.c.d.e.f.g.example",
        "1.2.3.4.a.b.c.d.e.f.g.example",
        "other",
        "10.0.0.1",
        "ashop.example",
        "x..shop.example",
    ]);
    let mixed: String = name
        .chars()
        .map(|c| match random.below(3) {
            0 => c.to_ascii_uppercase(),
            _ => c,
        })
        .collect();
    match random.below(8) {
        0 => (format!("{mixed}."), name.to_owned()),
        1 => (format!("{mixed}:8080"), name.to_owned()),
        2 => (format!("{mixed}.:80"), name.to_owned()),
        3 => (format!(".{mixed}"), String::new()),
        4 => (format!("{mixed}.."), format!("{name}..")),
        5 => (name.to_owned(), name.to_owned()),
        _ => (mixed, name.to_owned()),
    }
}

pub(crate) fn path(random: &mut Random) -> String {
    let mut path = String::new();
    if random.below(3) == 0 {
        path.push_str(random.one(&[
            "/api",
            "/api/v1",
            "/a/b/c",
            "/b/c",
            "//x",
            "/x%2fy",
            "/.well-known/acme-challenge",
            "/a/../b",
            "/x/../api/v1",
        ]));
    }
    for _ in 0..random.below(4) {
        path.push('/');
        path.push_str(random.one(&[
            "api",
            "v1",
            "x",
            "b",
            "c",
            "a",
            "a:b",
            "apiary",
            "API",
            "",
            "..",
            ".",
            "%2e%2E",
            "x%2fy",
            "x;y=1",
            "..;",
            "%61pi",
            "api%2fv1",
            "%2e.%2fapi",
            "a%3Ab",
            "a%20b",
            "v%31",
            "%25",
            "%",
        ]));
    }
    match path.is_empty() {
        true => "/".to_owned(),
        false => path,
    }
}
