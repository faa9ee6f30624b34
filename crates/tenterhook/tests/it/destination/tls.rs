//! Handlers behind TLS with a certificate authority of one's own.

use std::io::Write;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use tempfile::NamedTempFile;
use tenterhook::model::{FailureKind, Outcome};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::peer::{Caught, Part, Script};
use super::{connect, deliver, failed, message, settings};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }
}

fn file(pem: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(pem.as_bytes()).unwrap();
    file
}

/// A peer behind TLS, which asks for a client certificate of the same authority when `mutual`.
async fn serve(authority: &Authority, mutual: bool) -> (String, Arc<Mutex<Vec<Caught>>>) {
    let (certificate, key) = authority.issue("localhost");
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = if mutual {
        let mut roots = RootCertStore::empty();
        roots.add(authority.0.der().clone()).unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let parts = Arc::new(Mutex::new([Part::answer("200 OK", "")].into()));
    let script = Script { parts, caught: Arc::default() };
    let caught = Arc::clone(&script.caught);
    tokio::spawn(async move {
        for connection in 0.. {
            let Ok((stream, _)) = listener.accept().await else { return };
            let (acceptor, script) = (acceptor.clone(), script.clone());
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    script.play(connection, stream).await;
                }
            });
        }
    });
    (format!("https://localhost:{port}/hooks"), caught)
}

#[tokio::test]
async fn a_certificate_counts_only_under_the_authority_of_the_ca_file() {
    let (ours, other) = (Authority::new(), Authority::new());
    let (url, caught) = serve(&ours, false).await;
    let (ours, other) = (file(&ours.0.pem()), file(&other.0.pem()));

    let mut trusted = settings(&url);
    trusted.ca_file = Some(ours.path().to_owned());
    assert_eq!(deliver(&connect(trusted), message(b"{}")).await.outcome, Outcome::Delivered);

    let mut strange = settings(&url);
    strange.ca_file = Some(other.path().to_owned());
    let reply = deliver(&connect(strange), message(b"{}")).await;
    assert_eq!(reply.outcome, failed(FailureKind::Connect));
    assert!(reply.excerpt.contains("certificate"), "{}", reply.excerpt);

    let mut wrong_name = settings(url.replace("localhost", "127.0.0.1"));
    wrong_name.ca_file = Some(ours.path().to_owned());
    assert_eq!(deliver(&connect(wrong_name), message(b"{}")).await.outcome, failed(FailureKind::Connect));
    assert_eq!(caught.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_a_handler_that_asks() {
    let authority = Authority::new();
    let (url, _) = serve(&authority, true).await;
    let ca_file = file(&authority.0.pem());
    let (certificate, key) = authority.issue("gateway");
    let identity = file(&format!("{}{}", certificate.pem(), key.serialize_pem()));
    let mut without = settings(&url);
    without.ca_file = Some(ca_file.path().to_owned());
    let mut with = without.clone();
    with.client_certificate_file = Some(identity.path().to_owned());
    assert_ne!(deliver(&connect(without), message(b"{}")).await.outcome, Outcome::Delivered);
    let reply = deliver(&connect(with), message(b"{}")).await;
    assert_eq!(reply.outcome, Outcome::Delivered, "{}", reply.excerpt);
}
