//! Certificates that end soon, have ended, or have not begun. `translate` reads no clock, so whoever has one asks here.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::model::problem::code;
use crate::model::{Certificate, ObjectRef, Problem, Tls};

const DAY: i64 = 86_400;
/// Soon: less than a tenth of the time for which it is valid, and no more than so many seconds.
const SOON: i64 = 14 * DAY;

/// What there is to say about certificates at this time.
pub fn problems(tls: &Tls, now: SystemTime) -> Vec<Problem> {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs().cast_signed();
    tls.certificates.iter().filter_map(|(secret, certificate)| problem(secret, certificate, now)).collect()
}

fn problem(secret: &str, certificate: &Certificate, now: i64) -> Option<Problem> {
    let Certificate { not_before, not_after, .. } = *certificate;
    let (namespace, name) = secret.split_once('/')?;
    let owner = ObjectRef::new("Secret", namespace, name);
    let soon = (not_after.saturating_sub(not_before) / 10).min(SOON);
    let problem = if now >= not_after {
        Problem::error(code::CERTIFICATE_EXPIRY, &owner, "the certificate has ended: clients refuse it")
    } else if now < not_before {
        Problem::error(code::CERTIFICATE_EXPIRY, &owner, "the certificate is not valid yet: clients refuse it")
    } else if not_after.saturating_sub(now) < soon {
        Problem::warning(code::CERTIFICATE_EXPIRY, &owner, "the certificate ends soon")
    } else {
        return None;
    };
    let edge = if now < not_before { not_before } else { not_after };
    Some(problem.at("data[tls.crt]", date(edge)).expected("a certificate that is valid for longer"))
}

/// A day, as `2026-01-31`.
fn date(seconds: i64) -> String {
    // Civil from days, with years that begin in March so that the odd day is the last (H. Hinnant, chrono algorithms).
    let days = seconds.div_euclid(DAY) + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::Severity;

    #[test]
    fn days() {
        for (seconds, expected) in
            [(0, "1970-01-01"), (951_782_400, "2000-02-29"), (1_798_761_599, "2026-12-31"), (-1, "1969-12-31")]
        {
            assert_eq!(date(seconds), expected);
        }
    }

    #[test]
    fn soon_and_over_and_not_yet() {
        let of = |now: i64, not_before: i64, not_after: i64| {
            let certificate = Certificate {
                chain: String::new(),
                key: String::new().into(),
                staple: None,
                names: Vec::new(),
                not_before,
                not_after,
            };
            let certificates = [("a/b".to_owned(), Arc::new(certificate))].into();
            let tls = Tls { certificates, ..Tls::default() };
            let found = problems(&tls, UNIX_EPOCH + Duration::from_secs(now.unsigned_abs()));
            found.first().map(|problem| problem.severity)
        };
        let year = 365 * DAY;
        assert_eq!(of(10 * DAY, 0, year), None);
        assert_eq!(of(year - 15 * DAY, 0, year), None);
        assert_eq!(of(year - 13 * DAY, 0, year), Some(Severity::Warning));
        assert_eq!(of(5 * DAY, 0, 6 * DAY), None, "a certificate of a few days");
        assert_eq!(of(6 * DAY - 3600, 0, 6 * DAY), Some(Severity::Warning));
        assert_eq!(of(year, 0, year), Some(Severity::Error));
        assert_eq!(of(0, DAY, year), Some(Severity::Error));
    }
}
