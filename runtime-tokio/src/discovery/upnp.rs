//! The router by UPnP: found by SSDP, asked by SOAP (UPnP IGD 1 and 2, WANIPConnection and WANPPPConnection).
//!
//! What it says is a stranger's: bounded, read for a few words, and believed only as far as the address that answered.

use reqwest::{Client, Url};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::UdpSocket;
use zest_core::endpoint::{Scope, scope};

/// Where routers listen for such questions (UPnP Device Architecture 1.1, 1.3.2).
pub(super) const SEARCH_AT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(239, 255, 255, 250)), 1900);
/// Longest description or answer that is read: 256 KiB. Ours; usual ones have 2 to 20.
const DOCUMENT_BYTES_MAX: usize = 256 << 10;
/// Longest datagram that is read: 2 KiB. Ours; an answer to a search fits one packet.
const DATAGRAM_BYTES_MAX: usize = 2 << 10;
/// Answers to one search that are looked at: 8. Ours; other devices answer, too.
const ANSWERS_MAX: usize = 8;
/// How long a router may take for one answer: 3 s. Ours.
const ANSWER: Duration = Duration::from_secs(3);
/// Services that map ports, in the order in which they are looked for.
const SERVICES: [&str; 3] = [
    "urn:schemas-upnp-org:service:WANIPConnection:2",
    "urn:schemas-upnp-org:service:WANIPConnection:1",
    "urn:schemas-upnp-org:service:WANPPPConnection:1",
];
/// "OnlyPermanentLeasesSupported" (WANIPConnection:1, 2.4.16): it maps for ever or not at all.
const ONLY_PERMANENT: &str = "725";

/// What is mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    fn word(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

/// A router that maps ports.
#[derive(Debug)]
pub(super) struct Router {
    client: Client,
    control: Url,
    service: &'static str,
}

impl Router {
    /// The first router that answers a search from `local`, sent to `search_at`, and maps ports.
    pub(super) async fn find(search_at: SocketAddr, local: IpAddr, wait: Duration) -> Result<Self, String> {
        let text = |error: std::io::Error| error.to_string();
        let socket = UdpSocket::bind((local, 0)).await.map_err(text)?;
        for target in ["urn:schemas-upnp-org:device:InternetGatewayDevice:1", SERVICES[1], SERVICES[2]] {
            let search = format!(
                "M-SEARCH * HTTP/1.1\r\nHost: {SEARCH_AT}\r\nMan: \"ssdp:discover\"\r\nMX: 2\r\nST: {target}\r\n\r\n"
            );
            socket.send_to(search.as_bytes(), search_at).await.map_err(text)?;
        }
        // Fails only if the program has chosen another provider, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .dns_resolver(zest_hub::Names)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tls_certs_only(std::iter::empty())
            .http1_only()
            .timeout(ANSWER)
            .local_address(local)
            .build()
            .map_err(|error| error.to_string())?;
        let searching = async {
            let mut buffer = [0; DATAGRAM_BYTES_MAX];
            let mut why = String::new();
            for _ in 0..ANSWERS_MAX {
                let (len, from) = socket.recv_from(&mut buffer).await.map_err(text)?;
                match Self::of_answer(&client, from, &String::from_utf8_lossy(&buffer[..len])).await {
                    Ok(router) => return Ok(router),
                    Err(reason) => why = format!("{from}: {reason}"),
                }
            }
            Err(why)
        };
        tokio::time::timeout(wait, searching).await.unwrap_or_else(|_| Err("no router by UPnP".to_owned()))
    }

    /// Of an answer to the search. Where it points to is asked only if it is the one that answered, and near.
    async fn of_answer(client: &Client, from: SocketAddr, answer: &str) -> Result<Self, String> {
        let location = answer.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.trim().eq_ignore_ascii_case("location").then(|| value.trim())
        });
        let url = Url::parse(location.ok_or("no location")?).map_err(|error| error.to_string())?;
        let is_itself = url.host_str().and_then(|host| host.parse().ok()) == Some(from.ip());
        if url.scheme() != "http" || !is_itself || scope(from.ip()) == Scope::Global {
            return Err("it points elsewhere".to_owned());
        }
        let (_, description) = answered(client.get(url.clone())).await?;
        let (service, path) = control_of(&description).ok_or("it maps no ports")?;
        let base = element(&description, "URLBase").and_then(|base| Url::parse(base.trim()).ok());
        let base = base.filter(|base| base.host_str() == url.host_str()).unwrap_or(url);
        let control = base.join(&path).map_err(|error| error.to_string())?;
        if control.host_str() != base.host_str() || control.scheme() != "http" {
            return Err("it points elsewhere".to_owned());
        }
        Ok(Self { client: client.clone(), control, service })
    }

    /// Has a port lead to the same port of `local`, for so many seconds.
    pub(super) async fn add(
        &self,
        protocol: Protocol,
        local: IpAddr,
        port: u16,
        life_s: u32,
        name: &str,
    ) -> Result<(), String> {
        let ask = |life_s: u32| {
            let arguments = format!(
                "<NewRemoteHost></NewRemoteHost><NewExternalPort>{port}</NewExternalPort><NewProtocol>{}</NewProtocol>\
                 <NewInternalPort>{port}</NewInternalPort><NewInternalClient>{local}</NewInternalClient>\
                 <NewEnabled>1</NewEnabled><NewPortMappingDescription>{name}</NewPortMappingDescription>\
                 <NewLeaseDuration>{life_s}</NewLeaseDuration>",
                protocol.word()
            );
            self.ask("AddPortMapping", arguments)
        };
        match ask(life_s).await {
            Err(why) if why.contains(ONLY_PERMANENT) => ask(0).await.map(drop),
            done => done.map(drop),
        }
    }

    /// Takes that back.
    pub(super) async fn remove(&self, protocol: Protocol, port: u16) -> Result<(), String> {
        let arguments = format!(
            "<NewRemoteHost></NewRemoteHost><NewExternalPort>{port}</NewExternalPort><NewProtocol>{}</NewProtocol>",
            protocol.word()
        );
        self.ask("DeletePortMapping", arguments).await.map(drop)
    }

    /// The address it has outside.
    pub(super) async fn external(&self) -> Option<IpAddr> {
        let answer = self.ask("GetExternalIPAddress", String::new()).await.ok()?;
        element(&answer, "NewExternalIPAddress")?.trim().parse().ok()
    }

    async fn ask(&self, action: &str, arguments: String) -> Result<String, String> {
        let service = self.service;
        let body = format!(
            "<?xml version=\"1.0\"?>\r\n<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body><u:{action} xmlns:u=\"{service}\">\
             {arguments}</u:{action}></s:Body></s:Envelope>\r\n"
        );
        let request = self.client.post(self.control.clone());
        let request = request
            .header("Content-Type", "text/xml; charset=\"utf-8\"")
            .header("SOAPAction", format!("\"{service}#{action}\""))
            .body(body);
        let (is_good, answer) = answered(request).await?;
        if is_good {
            return Ok(answer);
        }
        let said = |name: &str| element(&answer, name).unwrap_or_default().trim().escape_debug().to_string();
        Err(format!("the router refuses: {} {}", said("errorCode"), said("errorDescription")))
    }
}

/// Whether the answer is a good one, and its text.
async fn answered(request: reqwest::RequestBuilder) -> Result<(bool, String), String> {
    let mut response = request.send().await.map_err(|error| error.to_string())?;
    let mut body = Vec::new();
    while let Some(bytes) = response.chunk().await.map_err(|error| error.to_string())? {
        if body.len() + bytes.len() > DOCUMENT_BYTES_MAX {
            return Err(format!("more than {DOCUMENT_BYTES_MAX} bytes"));
        }
        body.extend_from_slice(&bytes);
    }
    Ok((response.status().is_success(), String::from_utf8_lossy(&body).into_owned()))
}

/// The service of a description that maps ports, and where it is asked.
fn control_of(description: &str) -> Option<(&'static str, String)> {
    SERVICES.into_iter().find_map(|service| {
        let parts = description.split("<service>").skip(1);
        let mut parts = parts.map(|part| part.split("</service>").next().unwrap_or(part));
        let part =
            parts.find(|part| element(part, "serviceType").is_some_and(|kind| kind.trim() == service))?;
        Some((service, element(part, "controlURL")?.trim().replace("&amp;", "&")))
    })
}

/// What stands in the first element of this name that has no attributes and no prefix.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::sync::mpsc::{Receiver, channel};

    const DESCRIPTION: &str = "<root><device><serviceList><service><serviceType>urn:schemas-upnp-org:service:Layer3Forwarding:1\
        </serviceType><controlURL>/no</controlURL></service><service>\n <serviceType> urn:schemas-upnp-org:service:WANIPConnection:1 \
        </serviceType>\n<controlURL>/ctl?a=1&amp;b=2</controlURL></service></serviceList></device></root>";

    /// A router: how it answers what it is asked by SOAP, by the body. Tells what was asked.
    fn router(answer: fn(&str) -> (u16, &'static str)) -> (SocketAddr, Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let at = listener.local_addr().expect("bound");
        let (tell, told) = channel();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut asked = Vec::new();
                let mut byte = [0];
                while !asked.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
                    asked.push(byte[0]);
                }
                let head = String::from_utf8_lossy(&asked).to_ascii_lowercase();
                let length =
                    head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
                let mut body = vec![0; length.unwrap_or(0)];
                stream.read_exact(&mut body).expect("all of it");
                let body = String::from_utf8(body).expect("text");
                let (status, text) = if body.is_empty() { (200, DESCRIPTION) } else { answer(&body) };
                let _gone = tell.send(format!("{} {body}", head.lines().next().unwrap_or_default()));
                let head = format!(
                    "HTTP/1.1 {status} so\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    text.len()
                );
                let _gone = stream.write_all((head + text).as_bytes());
            }
        });
        (at, told)
    }

    /// Answers searches with this location.
    async fn found(location: String) -> Result<Router, String> {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let at = socket.local_addr().expect("bound");
        let answering = tokio::spawn(async move {
            let mut buffer = [0; 1500];
            let (len, from) = socket.recv_from(&mut buffer).await.expect("a search");
            assert!(buffer[..len].starts_with(b"M-SEARCH * HTTP/1.1\r\n"));
            let answer = format!("HTTP/1.1 200 OK\r\nST: upnp:rootdevice\r\nLOCATION: {location}\r\n\r\n");
            socket.send_to(answer.as_bytes(), from).await.expect("sent");
        });
        let found = Router::find(at, Ipv4Addr::LOCALHOST.into(), Duration::from_secs(1)).await;
        answering.await.expect("no panic");
        found
    }

    #[tokio::test]
    async fn a_router_is_found_asked_and_asked_to_forget() {
        let (at, told) = router(|body| match body.contains("GetExternalIPAddress") {
            true => (200, "<r><NewExternalIPAddress>192.0.2.9</NewExternalIPAddress></r>"),
            false => (200, "<r/>"),
        });
        let router = found(format!("http://{at}/desc.xml")).await.expect("a router");
        assert_eq!(router.external().await, Some(Ipv4Addr::new(192, 0, 2, 9).into()));
        let local = Ipv4Addr::LOCALHOST.into();
        router.add(Protocol::Tcp, local, 6881, 3600, "zest").await.expect("mapped");
        router.remove(Protocol::Udp, 6882).await.expect("taken back");
        let said: Vec<String> = told.try_iter().collect();
        assert!(said[0].starts_with("get /desc.xml"), "{said:?}");
        assert!(said[2].starts_with("post /ctl?a=1&b=2") && said[2].contains("AddPortMapping"), "{said:?}");
        for part in [
            "<NewExternalPort>6881<",
            "<NewProtocol>TCP<",
            "<NewInternalClient>127.0.0.1<",
            "<NewLeaseDuration>3600<",
        ] {
            assert!(said[2].contains(part), "{part}: {said:?}");
        }
        assert!(said[3].contains("DeletePortMapping") && said[3].contains("<NewProtocol>UDP<"), "{said:?}");
    }

    #[tokio::test]
    async fn a_router_that_maps_for_ever_only_is_asked_to() {
        let (at, told) = router(|body| match body.contains("<NewLeaseDuration>0<") {
            true => (200, "<r/>"),
            false => {
                (500, "<e><errorCode>725</errorCode><errorDescription>only permanent</errorDescription></e>")
            }
        });
        let router = found(format!("http://{at}/")).await.expect("a router");
        router.add(Protocol::Tcp, Ipv4Addr::LOCALHOST.into(), 1, 60, "zest").await.expect("mapped");
        assert_eq!(told.try_iter().count(), 3);
    }

    #[tokio::test]
    async fn what_points_elsewhere_maps_nothing_or_refuses_is_no_router() {
        let elsewhere = found("http://127.0.0.2:1/".to_owned()).await.expect_err("another address");
        assert!(elsewhere.contains("points elsewhere") || elsewhere.contains("no router"), "{elsewhere}");
        assert_eq!(
            control_of("<service><serviceType>x</serviceType><controlURL>/</controlURL></service>"),
            None
        );
        let (at, _told) =
            router(|_| (500, "<errorCode>718</errorCode><errorDescription>conflict</errorDescription>"));
        let router = found(format!("http://{at}/")).await.expect("a router");
        let why =
            router.add(Protocol::Udp, Ipv4Addr::LOCALHOST.into(), 1, 60, "zest").await.expect_err("refused");
        assert_eq!(why, "the router refuses: 718 conflict");
    }
}
