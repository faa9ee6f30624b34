//! Server certificates: PEM in, a rustls config out. Knows nothing of files or of when they are read again.

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;

/// Why a certificate cannot be served. Says which part is wrong; never prints key material.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(pub String);

/// A server config for `chain_pem` (leaf first) with its key: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN.
///
/// To serve a renewed certificate, store the new config into the listener's slot: connections made from then on get it,
/// the others go on as they are.
pub fn server_config(chain_pem: &[u8], key_pem: &[u8]) -> Result<ServerConfig, TlsError> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain_pem)
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError(format!("the certificate chain is not PEM: {error}")))?;
    if chain.is_empty() {
        return Err(TlsError("the certificate chain holds no `BEGIN CERTIFICATE` block".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(key_pem)
        .map_err(|_| TlsError("the key is not a PEM private key (PKCS#8, PKCS#1 or SEC1)".to_owned()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| TlsError(format!("the certificate and its key do not fit: {error}")))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_certificate_says_what_is_wrong_without_the_key() {
        let signed = rcgen::generate_simple_self_signed(vec!["gw.test".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(vec!["gw.test".to_owned()]).unwrap();
        let (chain, key) = (signed.cert.pem(), signed.signing_key.serialize_pem());
        let refusal = |chain: &str, key: &str| {
            server_config(chain.as_bytes(), key.as_bytes()).err().map(|error| error.0)
        };
        assert_eq!(refusal(&chain, &key), None);
        assert!(refusal("", &key).unwrap().contains("no `BEGIN CERTIFICATE` block"));
        assert!(refusal(&chain, "nonsense").unwrap().contains("not a PEM private key"));
        let mismatch = refusal(&chain, &other.signing_key.serialize_pem()).unwrap();
        assert!(mismatch.contains("do not fit"), "{mismatch}");
    }
}
