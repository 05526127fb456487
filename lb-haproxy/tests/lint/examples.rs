//! Configurations of the shape that distributions and HAProxy's own examples have: nothing untrue is found in them.

use lb_haproxy::config::lint::{Code, ConfigFile, LintOptions, lint};

/// The configuration that a distribution installs.
const DISTRIBUTION: &str = "\
global
	log /dev/log	local0
	log /dev/log	local1 notice
	chroot /var/lib/haproxy
	stats socket /run/haproxy/admin.sock mode 660 level admin
	stats timeout 30s
	user haproxy
	group haproxy
	daemon

	# See: https://ssl-config.mozilla.org/
	ca-base /etc/ssl/certs
	ssl-default-bind-ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256

defaults
	log	global
	mode	http
	option	httplog
	option	dontlognull
        timeout connect 5000
        timeout client  50000
        timeout server  50000
	errorfile 400 /etc/haproxy/errors/400.http
";

/// An edge with services found by DNS.
const EDGE: &str = "\
global
    default-path config
    zero-warning
    chroot /var/empty
    user haproxy
    group haproxy
    stats socket /var/run/haproxy-svc1.sock level admin mode 600 user haproxy expose-fd listeners
    stats timeout 1h
    log stderr local0 info

defaults http
    mode http
    option httplog
    log global
    timeout client 1m
    timeout server 1m
    timeout connect 10s
    timeout http-keep-alive 2m
    timeout queue 15s
    option redispatch
    balance roundrobin

frontend pub1 from http
    bind :80 name clear
    bind :443 name secure ssl crt pub.pem alpn h2,http/1.1
    option socket-stats
    option forwardfor
    http-request redirect scheme https code 301 if !{ ssl_fc }
    use_backend cluster1

resolvers dns
    parse-resolv-conf
    hold valid 10s

backend cluster1 from http
    option httpchk GET /
    default-server check inter 2s maxconn 100
    server-template app 1-20 _http._tcp.app.example resolvers dns resolve-opts allow-dup-ip init-addr none
    server-template old 5 old.example:8080 resolvers dns init-addr none

listen stats from http
    bind :8181 name private
    stats enable
    stats uri /
";

/// Fixed servers, a cookie and a backup, TCP beside HTTP.
const CLASSIC: &str = "\
global
    stats socket ipv4@127.0.0.1:9999 level admin
    stats socket unix@/run/haproxy.sock mode 600 level admin expose-fd listeners
    stats maxconn 50
    hard-stop-after 10m

defaults
    mode http
    option redispatch
    retries 3
    timeout connect 5s
    timeout client 1m
    timeout server 1m
    default-server inter 3s fall 3 rise 2

frontend www
    bind *:80
    acl is_static path_beg /static /images
    use_backend static if is_static
    default_backend app

backend static
    balance source
    server st1 10.0.1.1:80 check
    server st2 10.0.1.2:80 check

backend app
    balance url_param id
    cookie SRV insert indirect nocache
    server app1 10.0.0.1:8080 cookie a check
    server app2 10.0.0.2:8080 cookie b check
    server sorry 127.0.0.1:8081 backup

listen db
    bind :5432
    mode tcp
    balance leastconn
    option tcp-check
    server pg1 10.0.2.1:5432 check port 8008
    server pg2 10.0.2.2:5432 check port 8008 backup
";

#[test]
fn case_p21_examples_of_others_have_no_false_findings() {
    for (text, expected) in [
        (
            DISTRIBUTION,
            vec![
                Code::NoHardStop,
                Code::FewAdminConnections,
                Code::NoExposeFd,
            ],
        ),
        (
            EDGE,
            vec![Code::NoHardStop, Code::FewAdminConnections, Code::NoSlots],
        ),
        (CLASSIC, vec![Code::NoSlots]),
    ] {
        let file = ConfigFile { name: "f", text };
        let found = lint(&[file], &LintOptions::default());
        let codes: Vec<Code> = found.iter().map(|finding| finding.code).collect();
        assert_eq!(codes, expected, "{found:#?}");
    }
}
