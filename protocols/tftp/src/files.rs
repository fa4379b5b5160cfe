//! The files of one directory, in blocks. No path leaves it.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tempfile::NamedTempFile;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::task::spawn_blocking;

use crate::wire::Mode;

/// What the disk is asked for at once: in another thread, so that no handler waits for it.
const CHUNK: usize = 64 * 1024;

#[derive(Debug, Clone)]
pub struct Directory(PathBuf);

impl Directory {
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Self(path.as_ref().canonicalize()?))
    }

    /// The path of a file of this directory: a name, and nothing else. Boot loaders write a `/`
    /// before it.
    fn path(&self, name: &str) -> io::Result<PathBuf> {
        let name = name.strip_prefix('/').unwrap_or(name);
        let mut components = Path::new(name).components();
        match (components.next(), components.next()) {
            (Some(Component::Normal(only)), None) if only == name => Ok(self.0.join(name)),
            _ => Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "no name of a file here",
            )),
        }
    }

    pub async fn source(&self, name: &str, mode: Mode) -> io::Result<Source> {
        let path = tokio::fs::canonicalize(self.path(name)?).await?;
        // A link may lead elsewhere, and who opens a pipe waits for its other end.
        let metadata = tokio::fs::metadata(&path).await?;
        if path.parent() != Some(&self.0) || !metadata.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "no file of this directory",
            ));
        }
        let file = BufReader::with_capacity(CHUNK, File::open(&path).await?);
        Ok(Source {
            file,
            size: metadata.len(),
            mode,
            read: BytesMut::new(),
        })
    }

    /// A new file, of at most `most` bytes. One that is there already is not replaced.
    pub async fn sink(&self, name: &str, mode: Mode, most: u64) -> io::Result<Sink> {
        let path = self.path(name)?;
        let directory = self.0.clone();
        spawn_blocking(move || {
            if path.symlink_metadata().is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let permissions = Permissions::from_mode(0o666);
            let mut builder = tempfile::Builder::new();
            let partial = builder
                .permissions(permissions)
                .prefix(".upload-")
                .tempfile_in(directory)?;
            let file = BufWriter::with_capacity(CHUNK, File::from_std(partial.reopen()?));
            Ok(Sink {
                file,
                partial,
                path,
                mode,
                left: most,
                after_cr: false,
            })
        })
        .await?
    }
}

/// A file that is read.
#[derive(Debug)]
pub struct Source {
    file: BufReader<File>,
    size: u64,
    mode: Mode,
    /// Read, and not in a block yet.
    read: BytesMut,
}

impl Source {
    /// How many bytes all blocks have together, where that is known before they are read.
    pub fn size(&self) -> Option<u64> {
        (self.mode == Mode::Octet).then_some(self.size)
    }

    /// The next block: shorter than `len` at the end.
    pub async fn block(&mut self, len: usize) -> io::Result<Bytes> {
        while self.read.len() < len {
            match self.mode {
                Mode::Octet => {
                    let missing = len - self.read.len();
                    self.read.reserve(missing);
                    let mut file = (&mut self.file).take(missing as u64);
                    if file.read_buf(&mut self.read).await? == 0 {
                        break;
                    }
                }
                Mode::Netascii => match self.file.read_u8().await {
                    Ok(b'\n') => self.read.put_slice(b"\r\n"),
                    Ok(b'\r') => self.read.put_slice(b"\r\0"),
                    Ok(byte) => self.read.put_u8(byte),
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                    Err(error) => return Err(error),
                },
            }
        }
        Ok(self.read.split_to(len.min(self.read.len())).freeze())
    }
}

/// A file that is written. It has its name once it is complete, and is gone if that never comes.
#[derive(Debug)]
pub struct Sink {
    file: BufWriter<File>,
    partial: NamedTempFile,
    path: PathBuf,
    mode: Mode,
    left: u64,
    /// The CR of netascii, whose other half is in the next block.
    after_cr: bool,
}

impl Sink {
    pub async fn write(&mut self, mut block: Bytes) -> io::Result<()> {
        let left = self.left.checked_sub(block.len() as u64);
        self.left = left.ok_or(io::ErrorKind::FileTooLarge)?;
        if self.mode == Mode::Octet {
            return self.file.write_all(&block).await;
        }
        while block.has_remaining() {
            let byte = block.get_u8();
            let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if after_cr => self.file.write_u8(b'\n').await?,
                0 if after_cr => self.file.write_u8(b'\r').await?,
                b'\r' if !after_cr => {}
                byte => self.file.write_u8(byte).await?,
            }
        }
        Ok(())
    }

    pub async fn complete(mut self) -> io::Result<()> {
        self.file.flush().await?;
        spawn_blocking(move || self.partial.persist_noclobber(self.path)).await??;
        Ok(())
    }
}
