import ClusterMap
import Monitor
import Testing
import Wire

/// What the stored log guarantees and notices.
@Suite struct MapLogTests {
    /// A world whose log has this many epochs.
    private func world(epochs: UInt32) throws -> World {
        let world = try World()
        let client = world.open(.client)
        var number: UInt64 = 0
        while world.map.epoch < Epoch(epochs) {
            number += 1
            let names = ["srcpool": "rbd", "destpool": "images"]
            let back = ["srcpool": "images", "destpool": "rbd"]
            try world.command(client, number, "pool rename", number % 2 == 1 ? names : back)
        }
        return world
    }

    @Test func aLogBeginsOnce() throws {
        let world = try World()
        let map = NewCluster(cluster: UniqueID(high: 1, low: 2)).firstMap
        let error = #expect(throws: MapLogError.self) { try MapLog.create(in: world.store, name: "b", firstMap: map) }
        #expect(error?.description.contains("'a' of cluster 11112222-") == true)
        #expect(try MapLog.open(MemoryStore()) == nil)
        let opened = try #require(try MapLog.open(world.store))
        #expect(opened.cluster == World.cluster && opened.name == "a" && opened.last == Epoch(1))
        #expect(throws: MapLogError.self) {
            try MapLog.create(in: MemoryStore(), name: String(repeating: "m", count: 65), firstMap: map)
        }
    }

    @Test(arguments: [1, 2, 255, 256, 257, 600] as [UInt32])
    func whatIsLoadedIsWhatWasStored(_ epochs: UInt32) throws {
        let world = try world(epochs: epochs)
        let before = world.map.encoded
        try world.restart()
        #expect(world.map.epoch == Epoch(epochs))
        #expect(world.map.encoded == before)
    }

    @Test(arguments: ["m/full/", "m/increment/"], [4, 20])
    func damageIsNoticed(_ prefix: String, _ index: Int) throws {
        let world = try world(epochs: 3)
        let epoch: UInt8 = prefix == "m/full/" ? 1 : 2
        world.store.damage(Bytes(Array(prefix.utf8) + [0, 0, 0, epoch]), at: index)
        let log = try #require(try MapLog.open(world.store))
        let error = #expect(throws: MapLogError.self) { try log.newestMap() }
        #expect(error?.description.contains("epoch \(epoch)") == true)
    }

    @Test func anIncrementThatDoesNotMakeItsMapIsRefused() throws {
        let world = try World()
        var increment = OSDMap.Increment(epoch: Epoch(2))
        increment.removedPools = [PoolID(1)]
        increment.resultChecksum = 4711
        try world.log.append(MapLogEntry(epoch: Epoch(2), increment: increment.encoded, result: .empty))
        let error = #expect(throws: MapLogError.self) { try world.log.newestMap() }
        #expect(error?.description.contains("epoch 2") == true)
    }
}
