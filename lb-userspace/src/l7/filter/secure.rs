//! Redirects to HTTPS, and certificates of clients.

use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};

use super::variables::Seen;
use crate::l7::answer::Answer;
use crate::l7::host;
use crate::l7::proxy::host_of;
use crate::l7::tls::{Presented, Shown};
use crate::l7::worker::View;
use crate::model::filters::{ClientCertificate, Secure, SecureRedirect, Verify};

/// The redirect of a plain request to HTTPS, if there is to be one.
pub(super) fn redirect(secure: Option<&Secure>, seen: &Seen<'_>, view: &View) -> Option<Answer> {
    let settings = &view.router.settings.asked.tls;
    let wanted = match secure.map_or(SecureRedirect::Listed, |secure| secure.redirect) {
        SecureRedirect::Never => false,
        SecureRedirect::Listed => seen.rule.listed && view.router.https,
        // HTTPS may be spoken by a proxy in front of us.
        SecureRedirect::Always => true,
    };
    let path = seen.head.uri.path();
    if !wanted || seen.ends.scheme() == "https" || settings.no_redirect.iter().any(|begin| path.starts_with(begin)) {
        return None;
    }
    let (host, _) = host::split(host_of(seen.head))?;
    let target = seen.head.uri.path_and_query().map_or("/", |target| target.as_str());
    let keeps_slash = secure.is_some_and(|secure| secure.keeps_slash);
    let target = if keeps_slash { target } else { target.strip_suffix('/').unwrap_or(target) };
    let to = HeaderValue::try_from(format!("https://{host}{target}")).ok()?;
    Some(Answer::redirect(settings.redirect_status, to))
}

/// Refuses clients without a certificate that the route wants; gives the headers that tell the backend about it.
pub(super) fn admit(
    wanted: &ClientCertificate,
    seen: &Seen<'_>,
    view: &View,
) -> Result<Vec<(HeaderName, HeaderValue)>, Answer> {
    let presented = presented(wanted, seen, view)?;
    match &presented.certificate {
        None if wanted.verify == Verify::Required => {
            return Err(refused(wanted, seen, "No required SSL certificate was sent"));
        }
        Some(Shown { fault: Some(_), .. }) if wanted.verify != Verify::OptionalNoCa => {
            return Err(refused(wanted, seen, "The SSL certificate error"));
        }
        _ => {}
    }
    let subject = presented.certificate.as_ref().map_or("", |shown| &shown.subject);
    if seen.rule.subject.as_ref().is_some_and(|pattern| !pattern.is_match(subject)) {
        return Err(Answer::forbidden());
    }
    Ok(headers(wanted, presented.certificate.as_ref()))
}

/// What the client has shown, if it was asked for just that.
fn presented<'a>(wanted: &ClientCertificate, seen: &Seen<'a>, view: &View) -> Result<&'a Presented, Answer> {
    let Some(session) = &seen.ends.session else { return Err(Answer::forbidden()) };
    let authorities = view.router.authorities.get(&wanted.authorities);
    let asked = |one: &&Presented| one.asked.authorities == wanted.authorities && one.asked.depth == wanted.depth;
    let same = |one: &&Presented| authorities.is_some_and(|authorities| *authorities == one.authorities);
    // By another name, or before the authorities changed: the client tries again on a connection of its own.
    session.client.as_ref().filter(|one| asked(one) && same(one)).ok_or_else(Answer::misdirected)
}

fn refused(wanted: &ClientCertificate, seen: &Seen<'_>, what: &str) -> Answer {
    let page = wanted.error_page.as_ref().and_then(|page| HeaderValue::try_from(page.expand(seen)).ok());
    match page {
        Some(page) => Answer::redirect(302, page),
        None => Answer::plain(StatusCode::BAD_REQUEST, what),
    }
}

fn headers(wanted: &ClientCertificate, shown: Option<&Shown>) -> Vec<(HeaderName, HeaderValue)> {
    let verified = match shown {
        None => "NONE".to_owned(),
        Some(Shown { fault: None, .. }) => "SUCCESS".to_owned(),
        Some(Shown { fault: Some(fault), .. }) => format!("FAILED:{fault}"),
    };
    let mut told = vec![("ssl-client-verify", verified)];
    if let Some(shown) = shown {
        told.push(("ssl-client-subject-dn", shown.subject.clone()));
        told.push(("ssl-client-issuer-dn", shown.issuer.clone()));
        if wanted.pass {
            told.push(("ssl-client-cert", shown.escaped.clone()));
        }
    }
    let header = |(name, value): (&'static str, String)| {
        Some((HeaderName::from_static(name), HeaderValue::try_from(value).ok()?))
    };
    told.into_iter().filter_map(header).collect()
}
