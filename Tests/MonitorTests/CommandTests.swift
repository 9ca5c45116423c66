import ClusterMap
import Glibc
import Monitor
import Protocol
import Testing
import Wire

/// What commands do, refuse and answer.
@Suite struct CommandTests {
    @Test func disksGetTheLowestFreeNumberOnce() throws {
        let world = try World()
        let osds = [try world.newOSD(), try world.newOSD(), try world.newOSD(host: "nautilus")]
        #expect(osds.map(\.id.rawValue) == [0, 1, 2])
        let client = world.open(.client)
        let again = try world.command(
            client, 1, "osd new", ["uuid": osds[1].uuid.description, "host": "pearl", "size": "1"])
        #expect(String(again.output) == "1")
        try world.command(client, 2, "osd rm", ["ids": "1"])
        #expect(try world.newOSD().id == OSDID(1))
        let tree = try OSDTree(json: try world.command(client, 3, "osd tree").output)
        #expect(tree.nodes.map(\.name) == ["default", "nautilus", "osd.2", "pearl", "osd.0", "osd.1"])
        #expect(tree.nodes.map(\.depth) == [0, 1, 2, 1, 2, 2])
        // 10 GiB in TiB.
        #expect(tree.nodes[2].crushWeight == 0.00977)
        #expect(tree.stray.isEmpty)
    }

    @Test(
        arguments: [
            ("osd new", ["uuid": "x", "host": "pearl", "weight": "1"], EINVAL, "UUID"),
            ("osd new", ["uuid": "00000000-0000-4000-8000-000000000001", "weight": "1"], EINVAL, "'host'"),
            (
                "osd new", ["uuid": "00000000-0000-4000-8000-000000000001", "host": "a b", "weight": "1"], EINVAL,
                "CRUSH"
            ),
            ("osd new", ["uuid": "00000000-0000-4000-8000-000000000001", "host": "p", "weight": "-1"], EINVAL, "TiB"),
            ("osd rm", ["ids": "0"], EBUSY, "osd.0 is up"),
            ("osd purge", ["ids": "0"], EPERM, "--yes-i-really-mean-it"),
            ("osd out", ["ids": "7"], ENOENT, "osd.7 does not exist"),
            ("osd in", ["ids": "osd.x"], EINVAL, "osd.NUMBER"),
            ("osd down", [:], EINVAL, "'ids'"),
            ("osd reweight", ["ids": "0", "weight": "1.01"], EINVAL, "1.0"),
            ("osd reweight", ["ids": "0", "weight": "nan"], EINVAL, "1.0"),
            ("osd reweight", ["ids": "7", "weight": "0.5"], ENOENT, "osd.7 does not exist"),
            ("osd primary-affinity", ["ids": "0", "weight": "-0.1"], EINVAL, "1.0"),
            ("osd primary-affinity", ["ids": "0 1", "weight": "0.1"], EINVAL, "one OSD"),
            ("osd pg-upmap-items", ["pgid": "1.x", "ids": "0 1"], EINVAL, "'1.x'"),
            ("osd pg-upmap-items", ["pgid": "9.0", "ids": "0 1"], ENOENT, "pool 9"),
            ("osd pg-upmap-items", ["pgid": "1.40", "ids": "0 1"], ENOENT, "64 groups"),
            ("osd pg-upmap-items", ["pgid": "1.0", "ids": "0"], EINVAL, "pairs"),
            ("osd pg-upmap-items", ["pgid": "1.0", "ids": "0 7"], ENOENT, "osd.7"),
            ("osd pg-upmap-items", ["pgid": "1.0", "ids": "0 1"], EINVAL, "already"),
            ("osd rm-pg-upmap-items", ["pgid": "1.40"], ENOENT, "1.40"),
            ("osd balance", ["pools": "none"], ENOENT, "'none'"),
            ("osd balance", ["max-moves": "0"], EINVAL, "max-moves"),
            ("osd setcrushmap", [:], EINVAL, "-i"),
            ("osd crush add-bucket", ["name": "r", "type": "shelf"], EINVAL, "datacenter"),
            ("osd crush add-bucket", ["name": "a b", "type": "rack"], EINVAL, "'a b'"),
            ("osd crush add-bucket", ["name": "pearl", "type": "rack"], EEXIST, "host"),
            ("osd crush add-bucket", ["name": "osd.0", "type": "rack"], EINVAL, "taken"),
            ("osd crush add-bucket", ["name": "r", "type": "rack", "args": "default"], EINVAL, "TYPE=NAME"),
            ("osd crush add-bucket", ["name": "r", "type": "rack", "args": "root=pearl"], EINVAL, "'pearl' is a host"),
            ("osd crush add", ["ids": "0", "weight": "1", "args": "host=pearl"], EEXIST, "osd.0"),
            ("osd crush set", ["ids": "7", "weight": "1", "args": "host=pearl"], ENOENT, "osd.7"),
            ("osd crush set", ["ids": "0", "weight": "101", "args": "host=pearl"], EINVAL, "100"),
            ("osd crush set", ["ids": "0", "weight": "1"], EINVAL, "place"),
            ("osd crush move", ["name": "rack9", "args": "root=default"], ENOENT, "'rack9'"),
            ("osd crush move", ["name": "default", "args": "host=pearl"], EINVAL, "'default'"),
            ("osd crush reweight", ["name": "pearl", "weight": "1"], EINVAL, "bucket"),
            ("osd crush reweight", ["name": "osd.0", "weight": "inf"], EINVAL, "100"),
            ("osd crush rm", ["name": "pearl"], ENOTEMPTY, "3 items"),
            ("osd crush set-device-class", ["class": "ssd", "ids": "9"], ENOENT, "osd.9"),
            ("osd crush set-device-class", ["class": "s d", "ids": "0"], EINVAL, "'s d'"),
            ("osd crush rule create-replicated", ["name": "r", "root": "none", "type": "host"], ENOENT, "'none'"),
            ("osd crush rule create-replicated", ["name": "r", "root": "default", "type": "shelf"], EINVAL, "'shelf'"),
            (
                "osd crush rule create-replicated",
                ["name": "r", "root": "default", "type": "host", "class": "nvme"], EINVAL, "'nvme'"
            ),
            ("osd crush rule create-replicated", ["name": "r", "root": "osd.0", "type": "osd"], EINVAL, "'osd.0'"),
            ("osd crush tunables", ["profile": "newest"], EINVAL, "'newest'"),
            ("osd crush rule rm", ["name": "replicated_rule"], EBUSY, "pool 'rbd'"),
            ("osd crush rule dump", ["name": "fast"], ENOENT, "replicated_rule"),
            ("pool set", ["pool": "rbd", "var": "crush_rule", "val": "fast"], ENOENT, "replicated_rule"),
            ("osd map", ["pool": "none", "object": "o"], ENOENT, "'none'"),
            ("osd map", ["pool": "rbd", "object": String(repeating: "o", count: 513)], ENAMETOOLONG, "512"),
            ("pool create", ["pool": "a/b"], EINVAL, "'/'"),
            ("pool create", ["pool": "a@b"], EINVAL, "'@'"),
            ("pool create", ["pool": ".mgr"], EINVAL, "'.'"),
            ("pool create", ["pool": String(repeating: "p", count: 256)], ENAMETOOLONG, "255"),
            ("pool create", ["pool": ""], EINVAL, "'pool'"),
            ("pool create", ["pool": "p", "pg_num": "0"], EINVAL, "65536"),
            ("pool create", ["pool": "p", "pg_num": "-1"], EINVAL, "65536"),
            ("pool create", ["pool": "p", "pg_num": "99999999999999999999"], EINVAL, "65536"),
            ("pool create", ["pool": "p", "pg_num": "65536"], ERANGE, "pg_num"),
            ("pool create", ["pool": "p", "size": "11"], EINVAL, "10"),
            ("pool create", ["pool": "p", "size": "2", "min_size": "3"], EINVAL, "min_size"),
            ("pool create", ["pool": "p", "size": "1"], EPERM, "--yes-i-really-mean-it"),
            ("pool create", ["pool": "p", "rule": "fast"], ENOENT, "replicated_rule"),
            ("pool set", ["pool": "rbd", "var": "pg_num", "val": "0"], EINVAL, "65536"),
            ("pool set", ["pool": "rbd", "var": "pgp_num", "val": "32"], EINVAL, "lower pg_num"),
            ("pool set", ["pool": "rbd", "var": "pgp_num", "val": "65"], EINVAL, "pgp_num"),
            ("pool set", ["pool": "rbd", "var": "pg_num", "val": "65536"], ERANGE, "pg_num"),
            ("pool set", ["pool": "rbd", "var": "colour", "val": "1"], EINVAL, "min_size"),
            ("pool set", ["pool": "rbd", "var": "min_size", "val": "4"], EINVAL, "3"),
            ("pool get", ["pool": "rbd", "var": "colour"], EINVAL, "min_size"),
            ("pool get", ["pool": "none"], ENOENT, "'none'"),
            ("pool rename", ["srcpool": "none", "destpool": "x"], ENOENT, "'none'"),
            ("pool rename", ["srcpool": "rbd", "destpool": "rbd"], EEXIST, "'rbd'"),
            ("pool delete", ["pool": "rbd", "pool2": "rbd"], EPERM, "--yes-i-really-really-mean-it"),
            ("pool delete", ["pool": "rbd", "yes-i-really-really-mean-it": "true"], EPERM, "twice"),
            ("make coffee", [:], EINVAL, "'make coffee'"),
        ] as [(String, [String: String], Int32, String)])
    func badInputIsNamed(_ words: String, _ arguments: [String: String], _ errno: Int32, _ part: String) throws {
        let world = try World()
        _ = try world.threeUp()
        let client = world.open(.client)
        let before = world.map.encoded
        let reply = try world.command(client, 1, words, arguments)
        #expect(reply.errno == errno)
        #expect(reply.message.contains(part), "\(reply.message)")
        #expect(!reply.message.contains("\n") && reply.message.utf8.count < 400)
        #expect(world.map.encoded == before)
    }

    /// An answer over the limit could not be decoded, and the client would ask for it for ever.
    @Test func longAnswersAreCut() throws {
        let world = try World()
        let ids = (0..<950).map(String.init).joined(separator: " ")
        #expect(ids.utf8.count <= MonitorLimits.word)
        let reply = try world.command(world.open(.client), 1, "osd rm", ["ids": ids])
        #expect(reply.errno == 0 && reply.message.utf8.count <= MonitorLimits.message)
        let message = Message.monitor(.commandReply(reply))
        #expect((try? Message(decoding: message.encoded)) != nil)
    }

    @Test func poolsComeChangeAndGo() throws {
        let world = try World()
        let client = world.open(.client)
        try world.command(client, 1, "osd pool create", ["pool": "images", "size": "2", "pg_num": "8"])
        try world.command(client, 2, "pool init", ["pool": "images"])
        try world.command(client, 3, "pool set", ["pool": "images", "var": "min_size", "val": "1"])
        try world.command(client, 4, "pool rename", ["srcpool": "images", "destpool": "discs"])
        let pool = try #require(world.map.pool(named: "discs"))
        #expect(pool.id == PoolID(2) && pool.size == 2 && pool.minSize == 1 && pool.groupCount == 8)
        #expect(pool.application == "rbd" && pool.created == Epoch(2))
        let gone = ["pool": "discs", "pool2": "discs", "yes-i-really-really-mean-it": "true"]
        #expect(try world.command(client, 5, "pool delete", gone).message == "pool 'discs' removed")
        #expect(try world.command(client, 6, "pool rm", gone).errno == 0)
        try world.command(client, 7, "pool create", ["pool": "discs"])
        #expect(world.map.pool(named: "discs")?.id == PoolID(3), "a number is never used twice")
        let listed = try [PoolReport](json: try world.command(client, 8, "pool ls").output)
        #expect(listed.map(\.poolName) == ["rbd", "discs"])
        #expect(listed.map(\.minSize) == [2, 2])
    }

    @Test func aCommandSentAgainIsNotExecutedAgain() throws {
        let world = try World()
        let client = world.open(.client, incarnation: 42)
        let first = try world.command(client, 1, "pool create", ["pool": "images"])
        world.core.sessionClosed(client)
        let back = world.open(.client, incarnation: 42)
        #expect(try world.command(back, 1, "pool create", ["pool": "images"]) == first)
        let other = world.open(.client, incarnation: 43)
        #expect(
            try world.command(other, 1, "pool create", ["pool": "images"]).message == "pool 'images' already exists")
        // While it is being stored, too.
        world.commitsAtOnce = false
        let request = CommandRequest(number: 2, words: ["pool", "create"], arguments: ["pool": "more"])
        world.receive(.command(request), from: back)
        let epoch = world.map.epoch
        world.core.sessionClosed(back)
        let third = world.open(.client, incarnation: 42)
        world.receive(.command(request), from: third)
        world.receive(.command(request), from: third)
        world.clear()
        try world.commit()
        #expect(world.transcript().last == "to \(third): reply 2: ok pool 'more' created")
        #expect(world.map.epoch == epoch.next && world.pending == nil)
    }

    @Test func repliesAreKeptForTheNewestOnly() throws {
        let world = try World()
        let client = world.open(.client)
        let names = ["srcpool": "rbd", "destpool": "images"]
        try world.command(client, 1, "pool rename", names)
        for number in 2..<UInt64(MonitorBounds.rememberedReplies) + 1 {
            try world.command(client, number, "pool init", ["pool": "images"])
        }
        #expect(try world.command(client, 1, "pool rename", names).errno == 0)
        try world.command(client, 100_000, "pool init", ["pool": "images"])
        #expect(try world.command(client, 1, "pool rename", names).errno == EEXIST)
    }

    @Test func osdsGoOutInAndDown() throws {
        let world = try World()
        let osds = try world.threeUp()
        let client = world.open(.client)
        #expect(
            try world.command(client, 1, "osd out", ["ids": "0 osd.1"]).message == "marked out osd.0, marked out osd.1")
        #expect(try world.command(client, 2, "osd out", ["ids": "0"]).message == "osd.0 is out already")
        #expect(world.map.osds.values.count(where: \.isIn) == 1)
        try world.command(client, 3, "osd in", ["ids": "0 1"])
        try world.command(client, 4, "osd down", ["ids": "0"])
        #expect(!world.map.isUp(OSDID(0)))
        world.receive(.boot(osds[0].boot), from: osds[0].session)
        #expect(world.map.isUp(OSDID(0)))
        let counts = try OSDCounts(json: try world.command(client, 5, "osd stat").output)
        #expect(counts.numOsds == 3 && counts.numUpOsds == 3 && counts.numInOsds == 3)
        let dump = try MapDump(json: try world.command(client, 6, "osd dump").output)
        #expect(dump.osds.map(\.publicAddr) == ["127.0.0.1:6800", "127.0.0.1:6801", "127.0.0.1:6802"])
        #expect(dump.osds[0].upFrom > dump.osds[0].downAt)
    }

    @Test func objectsAreMapped() throws {
        let world = try World()
        _ = try world.threeUp()
        let client = world.open(.client)
        let reply = try world.command(client, 1, "osd map", ["pool": "rbd", "object": "rbd_directory"])
        let mapping = try ObjectMapping(json: reply.output)
        #expect(mapping.acting.sorted() == [0, 1, 2] && mapping.actingPrimary == mapping.acting[0])
        #expect(mapping.rawPgid.hasPrefix("1.") && mapping.pgid.hasPrefix("1."))
    }
}
