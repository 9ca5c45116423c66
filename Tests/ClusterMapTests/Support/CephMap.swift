import CRUSH
import ClusterMap
import Foundation
import Wire

/// An OSD map of Ceph as `osdmaptool --dump json` shows it: what our map is made of for the comparison.
struct CephMap: Decodable {
    struct Pool: Decodable {
        var pool: Int64
        var poolName: String
        var type: UInt8
        var size: UInt8
        var minSize: UInt8
        var crushRule: Int32
        var objectHash: UInt8
        var pgNum: UInt32
        var pgPlacementNum: UInt32
        var flagsNames: String
    }

    struct OSD: Decodable {
        var osd: Int32
        var up: Int
        var weight: Double
        var primaryAffinity: Double
    }

    struct List: Decodable {
        var pgid: String
        var osds: [Int32]
    }

    struct Items: Decodable {
        struct Mapping: Decodable {
            var from: Int32
            var to: Int32
        }
        var pgid: String
        var mappings: [Mapping]
    }

    /// Name and OSD in turn.
    enum Primary: Decodable {
        case group(String)
        case osd(Int32)

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let osd = try? container.decode(Int32.self) {
                self = .osd(osd)
            } else {
                self = .group(try container.decode(String.self))
            }
        }
    }

    var pools: [Pool]
    var osds: [OSD]
    var pgUpmap: [List]
    var pgUpmapItems: [Items]
    var pgTemp: [List]
    var primaryTemp: [Primary]

    /// Our map with the same contents.
    func map(_ crush: CRUSHMap) throws -> OSDMap {
        var map = OSDMap(cluster: UniqueID(high: 1, low: 2), crush: crush)
        map.epoch = Epoch(1)
        for pool in pools {
            var ours = ClusterMap.Pool(
                id: PoolID(pool.pool), name: pool.poolName, size: pool.size, minSize: pool.minSize,
                groupCount: pool.pgNum, rule: pool.crushRule, created: Epoch(1))
            ours.placementGroupCount = pool.pgPlacementNum
            ours.kind = try some(.init(rawValue: pool.type), "type \(pool.type)")
            ours.objectHash = try some(.init(rawValue: pool.objectHash), "hash \(pool.objectHash)")
            ours.hashesPoolNumber = pool.flagsNames.split(separator: ",").contains("hashpspool")
            map.pools[ours.id] = ours
        }
        for osd in osds {
            var record = OSDRecord(uuid: UniqueID(high: 3, low: UInt64(osd.osd)))
            record.isUp = osd.up == 1
            record.endpoint = Endpoint(host: "127.0.0.1", port: 6800)
            record.reweight = UInt32((osd.weight * 65536).rounded())
            record.primaryAffinity = UInt32((osd.primaryAffinity * 65536).rounded())
            map.osds[OSDID(osd.osd)] = record
        }
        for each in pgUpmap { map.exceptions.upmaps[try group(each.pgid)] = each.osds.map { OSDID($0) } }
        for each in pgUpmapItems {
            map.exceptions.upmapItems[try group(each.pgid)] = each.mappings.map {
                UpmapItem(from: OSDID($0.from), to: OSDID($0.to))
            }
        }
        for each in pgTemp { map.exceptions.temporary[try group(each.pgid)] = each.osds.map { OSDID($0) } }
        for index in stride(from: 0, to: primaryTemp.count, by: 2) {
            guard case .group(let name) = primaryTemp[index], case .osd(let osd) = primaryTemp[index + 1] else {
                throw Tool.Failure(description: "primary_temp: \(primaryTemp)")
            }
            map.exceptions.temporaryPrimaries[try group(name)] = OSDID(osd)
        }
        return map
    }

    private func group(_ text: String) throws -> PGID { try some(PGID(text), text) }

    private func some<Value>(_ value: Value?, _ what: String) throws -> Value {
        guard let value else { throw Tool.Failure(description: "the oracle's map has \(what)") }
        return value
    }

    /// Reads a map with the oracle's eyes. `options` change it for this run only, such as `--mark-out 3`.
    static func read(_ path: String, with tool: Tool, options: [String] = []) throws -> OSDMap {
        let json = try tool.run([path] + options + ["--dump", "json"])
        try tool.run([path, "--export-crush", tool.file("crush")])
        let crush = try CRUSHMap(compiled: Bytes([UInt8](Data(contentsOf: URL(fileURLWithPath: tool.file("crush"))))))
        let start = json.firstIndex(of: "{") ?? json.startIndex
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(CephMap.self, from: Data(json[start...].utf8)).map(crush)
    }
}
