use super::*;
use proptest::prelude::*;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

fn read_all(bytes: &[u8]) -> (Result<Option<Told>, ProxyProtocolError>, usize) {
    let mut rest = bytes;
    let told = block_on(read(&mut rest));
    (told, rest.len())
}

fn told(client: &str, front: &str) -> Told {
    Told { client: client.parse().expect(client), front: front.parse().expect(front) }
}

#[test]
fn version_1_is_a_line() {
    for (line, expected) in [
        ("PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\r\n", Some(told("192.0.2.1:4711", "198.51.100.1:443"))),
        ("PROXY TCP6 2001:db8::1 2001:db8::2 4711 443\r\n", Some(told("[2001:db8::1]:4711", "[2001:db8::2]:443"))),
        ("PROXY UNKNOWN\r\n", None),
        ("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
    ] {
        let (read, left) = read_all(format!("{line}GET /").as_bytes());
        assert_eq!((read.expect(line), left), (expected, 5), "{line}");
    }
}

#[test]
fn what_is_no_header_is_refused() {
    let long = format!("PROXY TCP4 {}\r\n", "1".repeat(120));
    for line in [
        "PROXY TCP4 192.0.2.1 198.51.100.1 4711\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 4711 443 1\r\n",
        "PROXY TCP4 192.0.2.1 2001:db8::1 4711 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 70000 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 +1 443\r\n",
        "PROXY TCP5 192.0.2.1 198.51.100.1 1 443\r\n",
        &long,
    ] {
        assert!(matches!(read_all(line.as_bytes()).0, Err(ProxyProtocolError::Malformed)), "{line}");
    }
    assert!(matches!(read_all(b"GET / HTTP/1.1\r\n").0, Err(ProxyProtocolError::Missing)));
    assert!(matches!(read_all(b"PROXY").0, Err(ProxyProtocolError::Io(_))));
}

#[test]
fn version_2_may_tell_more_and_speak_for_itself() {
    let mut header = write(Version::V2, told("192.0.2.1:4711", "198.51.100.1:443"));
    header[15] += 4;
    header.extend([4, 0, 1, 9]);
    assert_eq!(read_all(&header).0.expect("read"), Some(told("192.0.2.1:4711", "198.51.100.1:443")));
    header[12] = 0x20;
    assert_eq!(read_all(&header).0.expect("read"), None, "LOCAL");
    header[12] = 0x11;
    assert!(matches!(read_all(&header).0, Err(ProxyProtocolError::Malformed)), "version 1 in version 2");
    let short = [&SIGNATURE[..], &[0x21, 0x11, 0, 4, 1, 2, 3, 4]].concat();
    assert!(matches!(read_all(&short).0, Err(ProxyProtocolError::Malformed)));
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        client in any::<[u8; 4]>(), front in any::<[u8; 4]>(), wide in any::<bool>(), ports in any::<(u16, u16)>()
    ) {
        let address = |bytes: [u8; 4]| match wide {
            false => IpAddr::from(bytes),
            true => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, u16::from(bytes[0]), u16::from(bytes[1])]),
        };
        let told = Told { client: (address(client), ports.0).into(), front: (address(front), ports.1).into() };
        for version in [Version::V1, Version::V2] {
            let header = write(version, told);
            prop_assert_eq!(read_all(&header).0.expect("read"), Some(told));
        }
    }

    #[test]
    fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..64), signed in any::<bool>()) {
        let bytes = if signed { [&SIGNATURE[..], &bytes].concat() } else { bytes };
        let _ = read_all(&bytes);
    }
}

#[test]
fn a_connection_of_our_own_is_nobodys() {
    for (version, bytes) in [(Version::V1, &b"PROXY UNKNOWN\r\n"[..]), (Version::V2, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0")]
    {
        let written = write(version, told("0.0.0.0:0", "0.0.0.0:0"));
        assert_eq!(written, bytes);
        assert_eq!((read_all(&written).0.expect("a header"), read_all(&written).1), (None, 0));
    }
}
