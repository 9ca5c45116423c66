import ClusterMap
import Glibc
import Monitor
import Protocol
import Testing
import Wire

/// Runs of clients that are shut out.
@Suite struct BlocklistTests {
    @Test func entriesAreAddedListedRemovedAndRunOut() throws {
        let world = try World()
        let client = world.open(.client)
        let epoch = world.map.epoch
        let added = try world.command(client, 1, "osd blocklist add", ["client": "client.ab12", "expire": "10"])
        #expect(added.errno == 0 && added.message.hasPrefix("blocklisting client.ab12 until 2023-11-14T22:"))
        #expect(added.message.hasSuffix("(10 sec) from epoch \(epoch.next) on"))
        try world.command(client, 2, "osd blocklist add", ["client": "ff"])
        #expect(Set(world.map.blocklist.keys) == [0xab12, 0xff])
        #expect(world.map.blocklist[0xff] == world.wallSeconds + 3600)
        let listed = try [BlocklistReport](json: try world.command(client, 3, "osd blocklist ls").output)
        #expect(listed.map(\.addr) == ["client.ff", "client.ab12"])
        // Its time is over, as members see in an epoch of their own.
        let before = world.map.epoch
        world.advance(9_000)
        #expect(world.map.blocklist.count == 2)
        world.advance(1_000)
        #expect(Set(world.map.blocklist.keys) == [0xff] && world.map.epoch == before.next)
        let removed = try world.command(client, 4, "osd blocklist rm", ["client": "client.ff"])
        #expect(removed.message == "un-blocklisting client.ff" && world.map.blocklist.isEmpty)
        #expect(try world.command(client, 5, "osd blocklist rm", ["client": "client.ff"]).errno == ENOENT)
        try world.command(client, 6, "osd blocklist add", ["client": "1"])
        let cleared = try world.command(client, 7, "osd blocklist clear")
        #expect(cleared.message == "removed 1 blocklist entries" && world.map.blocklist.isEmpty)
    }

    @Test func theListTravelsAndIsStored() throws {
        let world = try World()
        let client = world.open(.client)
        try world.command(client, 1, "osd blocklist add", ["client": "client.7"])
        let copy = try OSDMap(decoding: world.map.encoded)
        #expect(copy.blocklist == world.map.blocklist && copy.blocklist.count == 1)
        try world.restart()
        #expect(world.map.blocklist == copy.blocklist)
    }

    @Test(
        arguments: [
            (["client": "osd.1"], EINVAL), (["client": "client."], EINVAL), (["client": "client.0"], EINVAL),
            (["client": "10.0.0.1:0/1"], EINVAL), ([:], EINVAL), (["client": "1", "expire": "0"], EINVAL),
            (["client": "1", "expire": "99999999999"], EINVAL),
        ] as [([String: String], Int32)])
    func whatIsNoClientIsRefused(arguments: [String: String], errno: Int32) throws {
        let world = try World()
        let epoch = world.map.epoch
        let reply = try world.command(world.open(.client), 1, "osd blocklist add", arguments)
        #expect(reply.errno == errno && !reply.message.isEmpty && world.map.epoch == epoch)
    }
}
