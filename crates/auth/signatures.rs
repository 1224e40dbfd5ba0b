//! The signatures of tokens: what `jsonwebtoken` asks of a crypto library, answered by `ring`.
//!
//! Guarantees: a signature is checked with the algorithm that is asked for and a key of its family, or refused; HMACs
//! are compared in constant time.
//! It is not the choice of key or algorithm: a token chooses neither, see [`crate::keys`]. It signs with HS256 only:
//! private keys of others are never held.

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, EncodingKey,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{Error, ErrorKind},
};
use ring::{
    hmac,
    signature::{
        ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
    },
};
use signature::{Signer, Verifier};

/// HS256, both ways; RS256, ES256 and EdDSA to check with. Keys as JWK are not read.
pub static PROVIDER: CryptoProvider =
    CryptoProvider { signer_factory: signer, verifier_factory: verifier, key_utils: KeyUtils::new_unimplemented() };

/// An HMAC of RFC 7518, section 3.2.
struct Hs256(hmac::Key);

impl Hs256 {
    fn of(family: AlgorithmFamily, secret: &[u8]) -> Result<Self, Error> {
        fits(family, AlgorithmFamily::Hmac)?;
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }
}

impl Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(hmac::sign(&self.0, message).as_ref().to_vec())
    }
}

impl JwtSigner for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        hmac::verify(&self.0, message, signature).map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

/// Somebody's public key.
struct Public {
    algorithm: Algorithm,
    key: UnparsedPublicKey<Vec<u8>>,
}

impl Public {
    fn of(
        algorithm: Algorithm,
        (family, by): (AlgorithmFamily, &'static dyn VerificationAlgorithm),
        key: &DecodingKey,
    ) -> Result<Self, Error> {
        fits(key.family(), family)?;
        Ok(Self { algorithm, key: UnparsedPublicKey::new(by, key.try_get_as_bytes()?.to_vec()) })
    }
}

impl Verifier<Vec<u8>> for Public {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        self.key.verify(message, signature).map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Public {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

fn fits(family: AlgorithmFamily, asked: AlgorithmFamily) -> Result<(), Error> {
    if family == asked { Ok(()) } else { Err(ErrorKind::InvalidKeyFormat.into()) }
}

fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    match algorithm {
        Algorithm::HS256 => Ok(Box::new(Hs256::of(key.family(), key.as_bytes())?)),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    }
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    let by: (AlgorithmFamily, &'static dyn VerificationAlgorithm) = match algorithm {
        Algorithm::HS256 => return Ok(Box::new(Hs256::of(key.family(), key.try_get_as_bytes()?)?)),
        Algorithm::RS256 => (AlgorithmFamily::Rsa, &RSA_PKCS1_2048_8192_SHA256),
        Algorithm::ES256 => (AlgorithmFamily::Ec, &ECDSA_P256_SHA256_FIXED),
        Algorithm::EdDSA => (AlgorithmFamily::Ed, &ED25519),
        _ => return Err(ErrorKind::InvalidAlgorithm.into()),
    };
    Ok(Box::new(Public::of(*algorithm, by, key)?))
}
