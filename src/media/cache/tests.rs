use std::sync::atomic::{AtomicUsize, Ordering};

use futures::TryStreamExt;
use portway_bridges::api::{Condition, Sentence};
use tokio::sync::mpsc;

use super::*;

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("pw-cache-{}-{:x}", std::process::id(), rand::random::<u32>()));
        Self(path)
    }

    fn open(&self, quota: u64) -> Cache {
        Cache::open(&self.0, quota, 1000, Metrics::default(), Stop::new()).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let names = std::fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn key(n: u8) -> Key {
    Key::new("net", &n.to_string())
}

fn content(size: Option<u64>, pieces: Vec<io::Result<&'static [u8]>>) -> Content {
    let body = stream::iter(pieces.into_iter().map(|piece| piece.map(Bytes::from_static)));
    Content { media_type: None, size, body: body.boxed() }
}

async fn take(cache: &Cache, key: Key, content: Content) -> Result<Vec<u8>, NoFile> {
    let reader = cache.read(key, move || Box::pin(async move { Ok(content) })).await?;
    let pieces: Vec<Bytes> = reader.bytes(0, None).try_collect().await.map_err(|_| NoFile::Unreachable)?;
    Ok(pieces.concat())
}

async fn kept(cache: &Cache, key: Key) -> bool {
    let reader = cache.read(key, || Box::pin(async { Err(Failure::temporary("not kept")) })).await;
    reader.is_ok()
}

#[tokio::test]
async fn f4_a_file_is_fetched_once_and_its_readers_follow_it() {
    let folder = Folder::new();
    let cache = folder.open(1000);
    let (send, receive) = mpsc::channel::<io::Result<Bytes>>(1);
    let opened = Arc::new(AtomicUsize::new(0));
    let receive = Arc::new(Mutex::new(Some(receive)));
    let reader = async || {
        let (opened, receive) = (opened.clone(), receive.clone());
        let open = move || -> BoxFuture<'static, Result<Content, Failure>> {
            opened.fetch_add(1, Ordering::SeqCst);
            let receive = receive.lock().unwrap().take().expect("it is opened once");
            let body = stream::unfold(receive, |mut receive| async { Some((receive.recv().await?, receive)) });
            Box::pin(async move { Ok(Content { media_type: None, size: Some(6), body: body.boxed() }) })
        };
        cache.read(key(1), open).await.unwrap()
    };
    let (one, two) = tokio::join!(reader(), reader());
    assert_eq!((one.size(), two.size()), (Some(6), Some(6)));
    let (mut one, mut two) = (one.bytes(0, None), two.bytes(1, Some(4)));
    send.send(Ok(Bytes::from_static(b"abc"))).await.unwrap();
    assert_eq!(one.try_next().await.unwrap().unwrap(), "abc");
    assert_eq!(two.try_next().await.unwrap().unwrap(), "bc");
    send.send(Ok(Bytes::from_static(b"def"))).await.unwrap();
    drop(send);
    assert_eq!(one.try_next().await.unwrap().unwrap(), "def");
    assert_eq!(two.try_next().await.unwrap().unwrap(), "d");
    assert!(one.try_next().await.unwrap().is_none() && two.try_next().await.unwrap().is_none());
    // From now on it is on the disk.
    let again: Vec<Bytes> = reader().await.bytes(0, None).try_collect().await.unwrap();
    assert_eq!(again.concat(), b"abcdef");
    assert_eq!(opened.load(Ordering::SeqCst), 1);
    assert_eq!(folder.names(), [key(1).hex()]);
}

#[tokio::test]
async fn f4_a_fetch_that_fails_leaves_nothing_half() {
    let folder = Folder::new();
    let cache = folder.open(1000);
    let broken = || Err(io::Error::other("broken"));
    for (content, expected) in [
        (content(Some(6), vec![Ok(b"abc")]), NoFile::Unreachable),
        (content(Some(2), vec![Ok(b"abc")]), NoFile::Unreachable),
        (content(None, vec![Ok(b"abc"), broken()]), NoFile::Unreachable),
        (content(Some(1001), vec![]), NoFile::TooLarge),
        (content(None, vec![Ok(&[0; 999]), Ok(&[0; 2])]), NoFile::TooLarge),
    ] {
        // Whoever has begun to read when it fails is told no more than that it does.
        let failed = take(&cache, key(1), content).await;
        assert!(failed == Err(expected) || failed == Err(NoFile::Unreachable), "{failed:?} instead of {expected:?}");
        // The task that fetches tidies up before it tells.
        assert_eq!((folder.names(), cache.bytes()), (vec![], 0));
    }
    let gone = Failure::permanent(Condition::ItemNotFound, Sentence::new("core.no-file"), "gone");
    let answer = cache.read(key(1), || Box::pin(async { Err(gone) })).await;
    assert_eq!(answer.err(), Some(NoFile::Gone));
    // The next one who asks may be luckier.
    assert_eq!(take(&cache, key(1), content(None, vec![Ok(b"ab"), Ok(b"c")])).await, Ok(b"abc".to_vec()));
}

#[tokio::test]
async fn f4_what_was_read_longest_ago_goes_first_and_what_is_half_goes_at_the_start() {
    let folder = Folder::new();
    let cache = folder.open(10);
    for n in 1..=3 {
        assert_eq!(take(&cache, key(n), content(Some(3), vec![Ok(b"abc")])).await, Ok(b"abc".to_vec()));
    }
    assert!(kept(&cache, key(1)).await);
    take(&cache, key(4), content(Some(3), vec![Ok(b"abc")])).await.unwrap();
    assert_eq!(cache.bytes(), 9);
    assert!(kept(&cache, key(1)).await && !kept(&cache, key(2)).await && kept(&cache, key(4)).await);
    // Larger than all that may be kept: given out, and not kept.
    assert_eq!(take(&cache, key(5), content(None, vec![Ok(&[7; 50])])).await, Ok(vec![7; 50]));
    assert!(!kept(&cache, key(5)).await);
    take(&cache, key(6), content(Some(3), vec![Ok(b"abc")])).await.unwrap();
    cache.close().await;
    std::fs::write(folder.0.join(format!("{}.part", key(9).hex())), "half").unwrap();
    let cache = folder.open(10);
    assert!(kept(&cache, key(6)).await && !kept(&cache, key(9)).await);
    assert!(folder.names().iter().all(|name| !name.contains("part")));
    // A smaller quota takes effect at the start, and a file that somebody removes is only fetched again.
    let cache = folder.open(3);
    assert_eq!((cache.bytes(), folder.names()), (3, vec![key(6).hex()]));
    std::fs::remove_file(folder.0.join(key(6).hex())).unwrap();
    assert_eq!(take(&cache, key(6), content(Some(3), vec![Ok(b"xyz")])).await, Ok(b"xyz".to_vec()));
}
