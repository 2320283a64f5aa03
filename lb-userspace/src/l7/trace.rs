//! W3C trace context (<https://www.w3.org/TR/trace-context/>): passed on as it came, and begun where there is none if the
//! settings ask for that.

use std::hash::{BuildHasher, RandomState};

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// What `traceparent` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// Id of the trace, 32 hexadecimal digits.
    pub trace: String,
    /// Id of the span of who asks, 16 hexadecimal digits.
    pub span: String,
    flags: u8,
}

impl Context {
    /// Reads the header (section 3.2). `None`: there is none, or it is not valid.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let text = values.next()?.to_str().ok()?;
        let mut fields = text.split('-');
        let (version, trace, span, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let is_hex = |text: &str, length: usize| {
            text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        };
        let is_id = |text: &str, length| is_hex(text, length) && text.bytes().any(|byte| byte != b'0');
        // Later versions may have more fields.
        let valid = is_hex(version, 2) && version != "ff" && (version != "00" || fields.next().is_none());
        let valid = valid && is_id(trace, 32) && is_id(span, 16) && is_hex(flags, 2) && values.next().is_none();
        let flags = u8::from_str_radix(flags, 16).ok()?;
        valid.then(|| Context { trace: trace.to_owned(), span: span.to_owned(), flags })
    }

    /// Who began the trace records it (section 3.2.2.5).
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }
}

/// The flag of a trace that is recorded.
const SAMPLED: u8 = 1;

/// Begins a trace where there is none that is valid; its state goes then, too (section 3.3).
pub fn begin(headers: &mut HeaderMap) {
    if Context::of(headers).is_some() {
        return;
    }
    forget_state(headers);
    // Not recorded by us, so not said to be sampled.
    insert(headers, &fresh_trace(), &fresh_span(), false);
}

/// The state of a trace that is not gone on with.
pub fn forget_state(headers: &mut HeaderMap) {
    headers.remove(TRACESTATE);
}

/// Says which trace a request belongs to, and which span asks.
pub fn insert(headers: &mut HeaderMap, trace: &str, span: &str, sampled: bool) {
    // Digits and dashes are always valid in a header.
    if let Ok(value) = HeaderValue::try_from(format!("00-{trace}-{span}-{:02x}", u8::from(sampled) * SAMPLED)) {
        headers.insert(TRACEPARENT, value);
    }
}

/// The id of a trace that begins.
pub fn fresh_trace() -> String {
    fresh_span() + &fresh_span()
}

/// The id of a span.
pub fn fresh_span() -> String {
    format!("{:016x}", RandomState::new().hash_one(0) | 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (TRACEPARENT, HeaderValue::try_from(*value).expect("a value"))).collect()
    }

    #[test]
    fn contexts_are_valid_or_none() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let context = Context::of(&headers(&[good])).expect("it is valid");
        assert_eq!((&*context.trace, &*context.span), ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"));
        assert!(Context::of(&headers(&["cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"])).is_some());
        for bad in [
            &[good, good][..],
            &[],
            &["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"],
            &["ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
            &["00-00000000000000000000000000000000-b7ad6b7169203331-01"],
            &["00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
            &["00-0af7651916cd43dd8448eb211c80319c-b7ad6b71692033-01"],
        ] {
            assert_eq!(Context::of(&headers(bad)), None, "{bad:?}");
        }
    }

    #[test]
    fn traces_begin_once() {
        let mut without = headers(&["nonsense"]);
        begin(&mut without);
        let begun = Context::of(&without).expect("a context");
        begin(&mut without);
        assert_eq!(Context::of(&without), Some(begun.clone()), "one that is there stays");
        let mut another = HeaderMap::new();
        begin(&mut another);
        assert_ne!(Context::of(&another), Some(begun));
    }
}
