import CRUSH
import ClusterMap
import Foundation
import Wire

/// An OSD map of Ceph as `osdmaptool --dump json` shows it: what our map is made of for the comparison.
struct CephMap: Decodable {
    struct Pool: Decodable {
        var pool: Int64
        var pool_name: String
        var type: UInt8
        var size: UInt8
        var min_size: UInt8
        var crush_rule: Int32
        var object_hash: UInt8
        var pg_num: UInt32
        var pg_placement_num: UInt32
        var flags_names: String
    }

    struct OSD: Decodable {
        var osd: Int32
        var up: Int
        var weight: Double
        var primary_affinity: Double
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
    var pg_upmap: [List]
    var pg_upmap_items: [Items]
    var pg_temp: [List]
    var primary_temp: [Primary]

    /// Our map with the same contents.
    func map(_ crush: CRUSHMap) throws -> OSDMap {
        var map = OSDMap(cluster: UniqueID(high: 1, low: 2), crush: crush)
        map.epoch = Epoch(1)
        for pool in pools {
            var ours = ClusterMap.Pool(
                id: PoolID(pool.pool), name: pool.pool_name, size: pool.size, minSize: pool.min_size,
                groupCount: pool.pg_num, rule: pool.crush_rule, created: Epoch(1))
            ours.placementGroupCount = pool.pg_placement_num
            ours.kind = try some(.init(rawValue: pool.type), "type \(pool.type)")
            ours.objectHash = try some(.init(rawValue: pool.object_hash), "hash \(pool.object_hash)")
            ours.hashesPoolNumber = pool.flags_names.split(separator: ",").contains("hashpspool")
            map.pools[ours.id] = ours
        }
        for osd in osds {
            var record = OSDRecord(uuid: UniqueID(high: 3, low: UInt64(osd.osd)))
            record.isUp = osd.up == 1
            record.endpoint = Endpoint(host: "127.0.0.1", port: 6800)
            record.reweight = UInt32((osd.weight * 65536).rounded())
            record.primaryAffinity = UInt32((osd.primary_affinity * 65536).rounded())
            map.osds[OSDID(osd.osd)] = record
        }
        for each in pg_upmap { map.exceptions.upmaps[try group(each.pgid)] = each.osds.map { OSDID($0) } }
        for each in pg_upmap_items {
            map.exceptions.upmapItems[try group(each.pgid)] = each.mappings.map {
                UpmapItem(from: OSDID($0.from), to: OSDID($0.to))
            }
        }
        for each in pg_temp { map.exceptions.temporary[try group(each.pgid)] = each.osds.map { OSDID($0) } }
        for index in stride(from: 0, to: primary_temp.count, by: 2) {
            guard case .group(let name) = primary_temp[index], case .osd(let osd) = primary_temp[index + 1] else {
                throw Tool.Failure(description: "primary_temp: \(primary_temp)")
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
        return try JSONDecoder().decode(CephMap.self, from: Data(json[start...].utf8)).map(crush)
    }
}
