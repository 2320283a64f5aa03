//! URLs of authentication services.

use super::*;
use crate::source::kinds::Ingress;

/// An absolute URL over HTTP or HTTPS. Clients must not choose the host by what they send, except by the host that they
/// ask for, which the rules know, and never the port: `$http_host`, which may have one, is taken as `$host` there.
pub(super) fn parse(text: &str) -> Parsed<Option<Template>> {
    let template = without_clients_port(value::template(text)?)?;
    if template.is_empty() {
        return Ok(None);
    }
    let wrong = || {
        Wrong::expected(
            "a URL that begins with http:// or https:// and a host, in which no variable but $host, $namespace, $service_name and their like stands",
        )
    };
    let written = template.to_string();
    let (scheme, authority) = split(&written).ok_or_else(wrong)?;
    let harmless = ["host", "namespace", "ingress_name", "service_name", "service_port"];
    let good = matches!(scheme, "http" | "https" | "${scheme}")
        && !authority.is_empty()
        && variables(authority).all(|name| harmless.contains(&name))
        && !authority.contains(['@', '\\', ' ', '#']);
    if good { Ok(Some(template)) } else { Err(wrong()) }
}

fn without_clients_port(template: Template) -> Parsed<Template> {
    let written = template.to_string();
    let Some((scheme, authority)) = split(&written) else { return Ok(template) };
    let named = authority.replace("${http_host}", "${host}").replace("${best_http_host}", "${host}");
    if named == authority {
        return Ok(template);
    }
    let rest = &written[scheme.len() + "://".len() + authority.len()..];
    value::template(&format!("{scheme}://{named}{rest}"))
}

/// Where people log in: a URL, or a path of the same host.
pub(super) fn parse_signin(text: &str) -> Parsed<Option<Template>> {
    let template = value::template(text)?;
    let written = template.to_string();
    let absolute = split(&written)
        .is_some_and(|(scheme, authority)| matches!(scheme, "http" | "https" | "${scheme}") && !authority.is_empty());
    let path = written.starts_with('/') && !written.starts_with("//");
    match written.as_str() {
        "" => Ok(None),
        _ if absolute || path => Ok(Some(template)),
        _ => Err(Wrong::expected("a URL that begins with http://, https:// or /")),
    }
}

/// The host is the one that the client names, and the Ingress takes any.
pub(super) fn is_up_to_clients(url: &Template, ingress: &Ingress) -> bool {
    let written = url.to_string();
    let names_host = split(&written).is_some_and(|(_, authority)| variables(authority).any(|name| name == "host"));
    let any_host = ingress.spec.rules.is_empty()
        || ingress.spec.rules.iter().any(|rule| rule.host.as_deref().unwrap_or_default().is_empty());
    names_host && any_host
}

/// The Service port that the host of a URL stands for: `NAME.NAMESPACE.svc`, with or without `cluster.local`.
pub(super) fn service(url: &Template) -> Option<ServiceKey> {
    let written = url.to_string();
    let (scheme, authority) = split(&written)?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (authority, if scheme == "https" { 443 } else { 80 }),
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let qualified = host.strip_suffix(".svc").or_else(|| host.strip_suffix(".svc.cluster.local"))?;
    let (service, namespace) = qualified.split_once('.')?;
    let valid = name::is_label(service) && name::is_label(namespace);
    valid.then(|| ServiceKey {
        namespace: namespace.to_owned(),
        name: service.to_owned(),
        port,
        protocol: Protocol::Tcp,
    })
}

/// Scheme and authority.
fn split(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    Some((scheme, &rest[..rest.find(['/', '?']).unwrap_or(rest.len())]))
}

/// Names in `${name}`, the form in which templates are written.
fn variables(text: &str) -> impl Iterator<Item = &str> {
    text.split("${").skip(1).filter_map(|rest| rest.split('}').next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for url in ["http://a/x?y=$request_uri", "https://$host/oauth2/auth", "$scheme://auth.$namespace.svc:4180/"] {
            assert!(parse(url).is_ok_and(|url| url.is_some()), "{url}");
        }
        for url in [
            "a.example/x",
            "/x",
            "ftp://a/",
            "http://",
            "http:///x",
            "http://$http_x_auth/",
            "http://a.$arg_domain/",
            "http://$cookie_a/",
            "http://user@a/",
            "http://a#$host/",
        ] {
            assert!(parse(url).is_err(), "{url}");
        }
        for (url, taken) in [
            ("https://$http_host/auth?to=$http_host", "https://${host}/auth?to=${http_host}"),
            ("$scheme://$best_http_host:4180", "${scheme}://${host}:4180"),
        ] {
            let parsed = parse(url).expect(url).map(|url| url.to_string());
            assert_eq!(parsed.as_deref(), Some(taken), "the client would choose the port");
        }
        assert_eq!(parse(" "), Ok(None));
        assert!(parse_signin("/oauth2/start").is_ok() && parse_signin("//evil").is_err());
        assert!(parse_signin("javascript:x").is_err());
    }

    #[test]
    fn services_in_urls() {
        let found = |url: &str| {
            let url = parse(url).expect(url).expect(url);
            service(&url).map(|key| format!("{}/{}:{}", key.namespace, key.name, key.port))
        };
        assert_eq!(found("http://auth.sso.svc/x").as_deref(), Some("sso/auth:80"));
        assert_eq!(found("https://auth.sso.svc.cluster.local./x").as_deref(), Some("sso/auth:443"));
        assert_eq!(found("http://auth.sso.svc.cluster.local:4180").as_deref(), Some("sso/auth:4180"));
        for url in ["http://auth.sso/x", "http://svc/", "http://a.b.c.svc/", "http://$service_name.sso.svc/"] {
            assert_eq!(found(url), None, "{url}");
        }
    }

    #[test]
    fn clients_do_not_choose_who_authenticates_them() {
        let url = parse("http://$host/auth").expect("a URL").expect("one");
        let mut ingress = Ingress::default();
        assert!(
            parse("http://$http_host/auth").is_ok_and(|url| url.is_some_and(|url| is_up_to_clients(&url, &ingress)))
        );
        assert!(is_up_to_clients(&url, &ingress));
        ingress.spec.rules = vec![crate::source::kinds::IngressRule { host: Some("a.example".into()), http: None }];
        assert!(!is_up_to_clients(&url, &ingress));
        ingress.spec.rules.push(Default::default());
        assert!(is_up_to_clients(&url, &ingress));
    }
}
