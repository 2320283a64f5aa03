use crate::harness::{Site, ingress};
use crate::pod::Pod;

const ON: (&str, &str) = ("weir.io/slash-redirect", "true");

#[test]
fn paths_without_their_slash_are_redirected_where_that_is_asked_for() {
    let (web, other) = (Pod::echo(), Pod::named("other"));
    let pods = [("web", &web), ("other", &other)];
    let both = |annotations: &[(&str, &str)]| {
        ingress("web", "a.example", "/foo/", annotations)
            + &ingress("other", "a.example", "/bar/", &[]).replace("pathType: Prefix", "pathType: Exact")
    };
    let mut site = Site::start(&both(&[ON]), &pods);
    let to = |site: &Site, path: &str| {
        let reply = site.get("a.example", path, &[]);
        (reply.status, reply.header("location").map(str::to_owned))
    };
    let redirected = |to: &str| (301, Some(to.to_owned()));
    assert_eq!(to(&site, "/foo"), redirected("/foo/"));
    assert_eq!(to(&site, "/foo?x=/y"), redirected("/foo/?x=/y"));
    assert_eq!(to(&site, "/foo/"), (200, None));
    assert_eq!(to(&site, "/foo/x"), (200, None));
    // Another Ingress of the host did not ask.
    assert_eq!((to(&site, "/bar"), to(&site, "/bar/")), ((404, None), (200, None)));
    assert_eq!(site.codes(), ["slash-not-redirected"]);

    // Without the annotation a prefix takes it as it is.
    site.apply(&both(&[]));
    assert_eq!(to(&site, "/foo"), (200, None));
    assert_eq!(site.codes(), ["slash-not-redirected"; 2]);
    // An exact path is redirected to, unless somebody has the path without the slash.
    let exact = both(&[ON]).replace("pathType: Prefix", "pathType: Exact");
    site.apply(&exact);
    assert_eq!((to(&site, "/foo"), to(&site, "/foo/x")), (redirected("/foo/"), (404, None)));
    site.apply(&(exact + &ingress("other", "a.example", "/foo", &[]).replacen("name: other", "name: third", 1)));
    assert_eq!(site.get("a.example", "/foo", &[]).body, "other");
    site.apply(&both(&[("weir.io/slash-redirect", "perhaps")]));
    assert!(site.codes().contains(&"annotation-invalid"), "{:?}", site.problems);
}
