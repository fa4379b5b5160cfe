//! Which files strangers reach.

use tempfile::TempDir;

use super::{Code, Directory, Mode, Name, Packet, Tested, World, content, data, read, write};

#[tokio::test(start_paused = true)]
async fn no_path_leaves_the_directory() -> Tested {
    let world = World::new(1)?;
    let outside = TempDir::new()?;
    std::fs::write(outside.path().join("secret"), "secret")?;
    let link = world.files.path().join("link");
    std::os::unix::fs::symlink(outside.path().join("secret"), link)?;
    std::fs::create_dir(world.files.path().join("folder"))?;
    world.put("folder/inside", "inside")?;
    world.put("there", "there")?;
    let absolute = outside.path().join("secret").display().to_string();
    let cases = [
        (read("../secret", &[]), Code::ACCESS),
        (read(&absolute, &[]), Code::ACCESS),
        (read("//etc/passwd", &[]), Code::ACCESS),
        (read("folder/../there", &[]), Code::ACCESS),
        (read("folder/inside", &[]), Code::ACCESS),
        (read("there/", &[]), Code::ACCESS),
        (read("..", &[]), Code::ACCESS),
        (read(".", &[]), Code::ACCESS),
        (read("", &[]), Code::ACCESS),
        (read("/", &[]), Code::ACCESS),
        (read("link", &[]), Code::ACCESS),
        (read("folder", &[]), Code::ACCESS),
        (read("absent", &[]), Code::NOT_FOUND),
        (write("../new", &[]), Code::ACCESS),
        (write("folder/new", &[]), Code::ACCESS),
        (write("link", &[]), Code::EXISTS),
        (write("there", &[]), Code::EXISTS),
        (write("new", &[(Name::TransferSize, u64::MAX)]), Code::FULL),
    ];
    world
        .serve(async {
            for (request, expected) in &cases {
                match world.peer()?.ask(request).await? {
                    Packet::Error(code, _) if code == *expected => {}
                    other => return Err(format!("{request:?}: {other:?}").into()),
                }
            }
            Ok(())
        })
        .await?;
    assert_eq!(
        std::fs::read_dir(world.files.path())?.count(),
        3,
        "nothing was left"
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_is_not_complete_leaves_nothing() -> Tested {
    let world = World::new(1)?;
    let (silent, rude, slow) = (world.peer()?, world.peer()?, world.peer()?);
    world
        .serve(async {
            for peer in [&silent, &rude, &slow] {
                peer.ask(&write("same", &[])).await?;
                peer.ask(&data(1, content(512))).await?;
            }
            rude.send(&Packet::Error(Code::OTHER, "no more".to_owned()))?;
            // The first that is complete has the name.
            assert_eq!(slow.ask(&data(2, "last")).await?, Packet::Ack(2));
            let late = world.peer()?;
            let told = late.ask(&write("same", &[])).await?;
            assert!(matches!(told, Packet::Error(Code::EXISTS, _)), "{told:?}");
            Ok(())
        })
        .await?;
    assert_eq!(std::fs::read_dir(world.files.path())?.count(), 1);
    assert_eq!(
        world.get("same")?,
        [content(512), b"last".to_vec()].concat()
    );
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_too_long_is_not_taken() -> Tested {
    let folder = TempDir::new()?;
    let mut sink = Directory::open(folder.path())?
        .sink("new", Mode::Octet, 10)
        .await?;
    sink.write(content(6).into()).await?;
    let refused = sink.write(content(5).into()).await;
    assert!(refused.is_err_and(|error| error.kind() == std::io::ErrorKind::FileTooLarge));
    Ok(())
}
