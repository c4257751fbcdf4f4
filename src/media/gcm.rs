//! Takes AES-256-GCM off files that are larger than memory (XEP-0454). The library that does the rest of our cryptography
//! deciphers only what is in memory as a whole, so this is its two halves (NIST SP 800-38D): the tag over all of it is
//! compared first, and nothing is deciphered before.

use aes::Aes256;
use aes::cipher::{BlockEncrypt, KeyInit, KeyIvInit, StreamCipher, StreamCipherSeek};
use bytes::Bytes;
use ctr::Ctr32BE;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use ghash::GHash;
use ghash::universal_hash::UniversalHash;
use std::io;

use super::spool::{PIECE, Spool};

/// The length of the tag at the end of the file.
pub const TAG: u64 = 16;

/// The key of one file.
#[derive(Clone)]
pub struct FileKey {
    key: [u8; 32],
    /// The counter block of the tag.
    first: [u8; 16],
}

impl std::fmt::Debug for FileKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FileKey(…)")
    }
}

impl FileKey {
    /// Reads the part of an `aesgcm:` URL behind the `#`: an IV of 12 bytes (16 from older clients) and a key of 32, in
    /// hexadecimal digits.
    #[must_use]
    pub fn read(fragment: &str) -> Option<Self> {
        if !fragment.is_ascii() || !fragment.len().is_multiple_of(2) {
            return None;
        }
        let bytes: Option<Vec<u8>> =
            (0..fragment.len() / 2).map(|n| u8::from_str_radix(&fragment[2 * n..2 * n + 2], 16).ok()).collect();
        let bytes = bytes?;
        let (iv, key) = match bytes.len() {
            44 => bytes.split_at(12),
            48 => bytes.split_at(16),
            _ => return None,
        };
        let key: [u8; 32] = key.try_into().ok()?;
        Some(Self { key, first: Self::first(&key, iv) })
    }

    /// The counter block of the tag (SP 800-38D, section 7.1, step 2).
    fn first(key: &[u8; 32], iv: &[u8]) -> [u8; 16] {
        let mut first = [0; 16];
        if iv.len() == 12 {
            first[..12].copy_from_slice(iv);
            first[15] = 1;
            return first;
        }
        let mut hash = Self::hash(key);
        hash.update_padded(iv);
        hash.update(&[lengths(0, iv.len() as u64)]);
        hash.finalize().into()
    }

    fn hash(key: &[u8; 32]) -> GHash {
        let mut sub = aes::Block::default();
        Aes256::new(key.into()).encrypt_block(&mut sub);
        GHash::new(&sub)
    }

    /// The key stream, at a byte of the file.
    fn stream(&self, at: u64) -> Ctr32BE<Aes256> {
        let mut stream = Ctr32BE::<Aes256>::new(&self.key.into(), &self.first.into());
        // The first block of it is the tag's.
        stream.seek(at + 16);
        stream
    }

    /// Whether the first `size` bytes are what the tag behind them says.
    ///
    /// # Errors
    /// The disk does not give the file.
    pub async fn verify(&self, file: &Spool, size: u64) -> io::Result<bool> {
        let mut hash = Self::hash(&self.key);
        let mut at = 0;
        while at < size {
            // Pieces are whole blocks but for the last one.
            let piece = file.read(at, (size - at).min(PIECE as u64)).await?;
            if piece.is_empty() {
                return Ok(false);
            }
            hash.update_padded(&piece);
            at += piece.len() as u64;
        }
        hash.update(&[lengths(0, size)]);
        let mut tag: [u8; 16] = hash.finalize().into();
        let mut mask = Ctr32BE::<Aes256>::new(&self.key.into(), &self.first.into());
        mask.apply_keystream(&mut tag);
        let found = file.read(size, TAG).await?;
        Ok(found.len() == tag.len() && found.iter().zip(tag).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0)
    }

    /// The first `size` bytes, deciphered. Verify them first.
    #[must_use]
    pub fn decipher(self, file: Spool, size: u64) -> BoxStream<'static, io::Result<Bytes>> {
        stream::try_unfold((self, file, 0), move |(key, file, at)| async move {
            if at >= size {
                return Ok(None);
            }
            let mut piece = file.read(at, (size - at).min(PIECE as u64)).await?.to_vec();
            if piece.is_empty() {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
            key.stream(at).apply_keystream(&mut piece);
            let next = at + piece.len() as u64;
            Ok(Some((Bytes::from(piece), (key, file, next))))
        })
        .boxed()
    }
}

/// The last block of the hash: how many bits there were.
fn lengths(beside: u64, inside: u64) -> ghash::Block {
    let mut block = [0; 16];
    block[..8].copy_from_slice(&(beside * 8).to_be_bytes());
    block[8..].copy_from_slice(&(inside * 8).to_be_bytes());
    block.into()
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

    use super::*;

    async fn spooled(bytes: &[u8]) -> Spool {
        let file = Spool::nameless(&std::env::temp_dir()).await.unwrap();
        file.write(0, Bytes::copy_from_slice(bytes)).await.unwrap();
        file
    }

    /// Sealed by another implementation.
    fn sealed(plain: &[u8], key: &[u8; 32], iv: [u8; 12]) -> Vec<u8> {
        let sealer = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).unwrap());
        let mut bytes = plain.to_vec();
        sealer.seal_in_place_append_tag(Nonce::assume_unique_for_key(iv), Aad::empty(), &mut bytes).unwrap();
        bytes
    }

    fn fragment(key: &[u8], iv: &[u8]) -> String {
        iv.iter().chain(key).map(|byte| format!("{byte:02x}")).collect()
    }

    #[tokio::test]
    async fn f5_what_another_sealed_is_opened_and_what_was_changed_is_not() {
        let (key, iv) = ([7; 32], [9; 12]);
        for size in [0, 1, 15, 16, 17, 1000, PIECE - 1, PIECE, 2 * PIECE + 5] {
            let plain: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
            let mut bytes = sealed(&plain, &key, iv);
            let opener = FileKey::read(&fragment(&key, &iv)).unwrap();
            let file = spooled(&bytes).await;
            assert!(opener.verify(&file, size as u64).await.unwrap(), "{size}");
            let opened: Vec<Bytes> = opener.clone().decipher(file, size as u64).try_collect().await.unwrap();
            assert_eq!(opened.concat(), plain, "{size}");
            for at in [0, bytes.len() / 2, bytes.len() - 1] {
                bytes[at] ^= 1;
                assert!(!opener.verify(&spooled(&bytes).await, size as u64).await.unwrap(), "{size} {at}");
                bytes[at] ^= 1;
            }
            assert!(!opener.verify(&spooled(&bytes[..size]).await, size as u64).await.unwrap(), "cut");
        }
    }

    /// Test case 18 of the specification that McGrew and Viega submitted to NIST: an IV that is not 12 bytes long.
    #[test]
    fn other_ivs_are_hashed() {
        let hex = |text: &str| -> Vec<u8> {
            (0..text.len() / 2).map(|n| u8::from_str_radix(&text[2 * n..2 * n + 2], 16).unwrap()).collect()
        };
        let key: [u8; 32] = hex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308").try_into().unwrap();
        let iv = hex(
            "9313225df88406e555909c5aff5269aa6a7a9538534f7da1e4c303d2a318a728c3c0c95156809539fcf0e2429a6b525416aedbf5a0de6a57a637b39b",
        );
        let mut block = hex("d9313225f88406e5a55909c5aff5269a");
        let opener = FileKey { key, first: FileKey::first(&key, &iv) };
        opener.stream(0).apply_keystream(&mut block);
        assert_eq!(block, hex("5a8def2f0c9e53f1f75d7853659e2a20"));
    }

    #[test]
    fn keys_are_read_and_rubbish_is_not() {
        assert!(FileKey::read(&fragment(&[7; 32], &[9; 12])).is_some());
        assert!(FileKey::read(&fragment(&[7; 32], &[9; 16])).is_some());
        for bad in ["", "00", "zz", &"0".repeat(87), &"0".repeat(90), &"é".repeat(44)] {
            assert!(FileKey::read(bad).is_none(), "{bad}");
        }
    }
}
