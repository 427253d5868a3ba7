// go-redis against Tidewater, over RESP2 and RESP3.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

var (
	ctx      = context.Background()
	address  = os.Getenv("TIDEWATER_HOST") + ":" + os.Getenv("TIDEWATER_PORT")
	password = os.Getenv("TIDEWATER_PASSWORD")
	protocol int
	held     int
)

func ok(holds bool, said ...any) {
	if !holds {
		panic(fmt.Sprint(said...))
	}
	held++
}

func equal(got, wanted any) {
	ok(reflect.DeepEqual(got, wanted), fmt.Sprintf("got %#v, wanted %#v", got, wanted))
}

// is holds when a reply has come without an error and is this.
func is[T any](wanted T) func(T, error) {
	return func(got T, err error) {
		if err != nil {
			panic(err)
		}
		equal(got, wanted)
	}
}

func must[T any](got T, err error) T {
	if err != nil {
		panic(err)
	}
	return got
}

func fails(err error, text string) {
	ok(err != nil && strings.Contains(err.Error(), text), "error: ", err, ", wanted ", text)
}

func until(what string, holds func() bool) {
	for end := time.Now().Add(15 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			panic("waited in vain for " + what)
		}
	}
}

func connect(change func(*redis.Options)) *redis.Client {
	options := &redis.Options{Addr: address, Password: password, Protocol: protocol, ReadTimeout: 30 * time.Second}
	if change != nil {
		change(options)
	}
	return redis.NewClient(options)
}

func blocked(c *redis.Client) {
	until("a blocked client", func() bool { return strings.Contains(must(c.Info(ctx, "clients").Result()), "blocked_clients:1\r") })
}

func connecting(c *redis.Client) {
	is("PONG")(c.Ping(ctx).Result())
	anonymous := connect(func(o *redis.Options) { o.Password = "" })
	fails(anonymous.Get(ctx, "k").Err(), "NOAUTH")
	anonymous.Close()
	wrong := connect(func(o *redis.Options) { o.Password = "wrong" })
	fails(wrong.Ping(ctx).Err(), "WRONGPASS")
	wrong.Close()
	three := connect(func(o *redis.Options) { o.DB, o.Username, o.ClientName = 3, "default", "three" })
	is("OK")(three.Set(ctx, "k", "in 3", 0).Result())
	info := must(three.ClientInfo(ctx).Result())
	equal([]any{info.DB, info.Name, info.Resp}, []any{3, "three", protocol})
	ok(strings.HasPrefix(info.LibName, "go-redis"), info.LibName)
	three.Close()
	equal(c.Get(ctx, "k").Err(), redis.Nil)
	options := must(redis.ParseURL("redis://:" + password + "@" + address + "/3"))
	byURL := redis.NewClient(options)
	is("in 3")(byURL.Get(ctx, "k").Result())
	byURL.Close()
}

func stringsAndBits(c *redis.Client) {
	is("OK")(c.Set(ctx, "s", "hello", 0).Result())
	is(int64(11))(c.Append(ctx, "s", " world").Result())
	is("hello")(c.GetRange(ctx, "s", 0, 4).Result())
	is(false)(c.SetNX(ctx, "s", "x", 0).Result())
	is("hello world")(c.GetSet(ctx, "s", "x").Result())
	is("OK")(c.MSet(ctx, "a", 1, "b", 2).Result())
	is([]any{"1", nil, "2"})(c.MGet(ctx, "a", "none", "b").Result())
	is(int64(42))(c.IncrBy(ctx, "a", 41).Result())
	is(42.5)(c.IncrByFloat(ctx, "a", 0.5).Result())
	is(int64(0))(c.SetBit(ctx, "bits", 7, 1).Result())
	is(int64(1))(c.BitCount(ctx, "bits", nil).Result())
	is(int64(1))(c.BitOpNot(ctx, "not", "bits").Result())
	is("\xfe")(c.Get(ctx, "not").Result())
	is([]int64{0, 9})(c.BitField(ctx, "f", "SET", "u8", 0, 255, "INCRBY", "u8", 0, 10).Result())
	is("x")(c.GetDel(ctx, "s").Result())
}

func collections(c *redis.Client) {
	is(int64(3))(c.RPush(ctx, "l", "a", "b", "c").Result())
	is([]string{"a", "b", "c"})(c.LRange(ctx, "l", 0, -1).Result())
	is("a")(c.LMove(ctx, "l", "m", "LEFT", "RIGHT").Result())
	is([]string{"c", "b"})(c.RPopCount(ctx, "l", 5).Result())
	key, values, err := c.LMPop(ctx, "left", 1, "m").Result()
	must(key, err)
	equal([]any{key, values}, []any{"m", []string{"a"}})
	is(int64(3))(c.SAdd(ctx, "s", 1, 2, 3).Result())
	is(map[string]struct{}{"1": {}, "2": {}, "3": {}})(c.SMembersMap(ctx, "s").Result())
	c.SAdd(ctx, "t", 3, 4)
	is([]string{"3"})(c.SInter(ctx, "s", "t").Result())
	is([]bool{true, false})(c.SMIsMember(ctx, "s", 1, 9).Result())
	is(int64(3))(c.ZAdd(ctx, "z", redis.Z{Score: 1, Member: "a"}, redis.Z{Score: 2.5, Member: "b"}, redis.Z{Score: math.Inf(1), Member: "c"}).Result())
	is([]redis.Z{{Score: 1, Member: "a"}, {Score: 2.5, Member: "b"}, {Score: math.Inf(1), Member: "c"}})(c.ZRangeWithScores(ctx, "z", 0, -1).Result())
	is(2.75)(c.ZIncrBy(ctx, "z", 0.25, "b").Result())
	is([]string{"b"})(c.ZRangeByScore(ctx, "z", &redis.ZRangeBy{Min: "(1", Max: "+inf", Count: 1}).Result())
	is([]redis.Z{{Score: 1, Member: "a"}})(c.ZPopMin(ctx, "z").Result())
	is(int64(2))(c.HSet(ctx, "h", "f", "v", "g", 1).Result())
	is(map[string]string{"f": "v", "g": "1"})(c.HGetAll(ctx, "h").Result())
	is(int64(5))(c.HIncrBy(ctx, "h", "g", 4).Result())
	is([]any{"v", nil})(c.HMGet(ctx, "h", "f", "none").Result())
	is([]int64{1, -2})(c.HExpire(ctx, "h", 100*time.Second, "f", "none").Result())
	ttl := must(c.HTTL(ctx, "h", "f").Result())[0]
	ok(ttl > 0 && ttl <= 100, ttl)
	is(int64(2))(c.GeoAdd(ctx, "geo", &redis.GeoLocation{Name: "Palermo", Longitude: 13.361389, Latitude: 38.115556},
		&redis.GeoLocation{Name: "Catania", Longitude: 15.087269, Latitude: 37.502669}).Result())
	is(166.2742)(c.GeoDist(ctx, "geo", "Palermo", "Catania", "km").Result())
	is([]string{"Catania"})(c.GeoSearch(ctx, "geo", &redis.GeoSearchQuery{Longitude: 15, Latitude: 37, Radius: 100, RadiusUnit: "km"}).Result())
	for i := range 1000 {
		c.PFAdd(ctx, "p", i)
	}
	n := must(c.PFCount(ctx, "p").Result())
	ok(n > 950 && n < 1050, n)
}

func streams(c *redis.Client) {
	var ids []string
	for n := range 5 {
		ids = append(ids, must(c.XAdd(ctx, &redis.XAddArgs{Stream: "x", Values: []any{"n", n}}).Result()))
	}
	is(int64(5))(c.XLen(ctx, "x").Result())
	is([]redis.XMessage{{ID: ids[0], Values: map[string]any{"n": "0"}}})(c.XRangeN(ctx, "x", "-", "+", 1).Result())
	is("OK")(c.XGroupCreate(ctx, "x", "g", "0").Result())
	fails(c.XGroupCreate(ctx, "x", "g", "0").Err(), "BUSYGROUP")
	got := must(c.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "g", Consumer: "one", Streams: []string{"x", ">"}, Count: 3}).Result())
	equal([]any{len(got[0].Messages), got[0].Messages[2].ID}, []any{3, ids[2]})
	is(int64(1))(c.XAck(ctx, "x", "g", ids[0]).Result())
	equal(must(c.XPending(ctx, "x", "g").Result()).Count, int64(2))
	claimed, _, err := c.XAutoClaim(ctx, &redis.XAutoClaimArgs{Stream: "x", Group: "g", Consumer: "two", Start: "0"}).Result()
	equal(must(claimed, err)[0].ID, ids[1])
	equal(must(c.XInfoGroups(ctx, "x").Result())[0].Consumers, int64(2))
	equal(must(c.XInfoStreamFull(ctx, "x", 10).Result()).Length, int64(5))
	is(int64(3))(c.XTrimMaxLen(ctx, "x", 2).Result())
}

func expiry(c *redis.Client) {
	is("OK")(c.Set(ctx, "k", "v", 30*time.Millisecond).Result())
	until("the key to expire", func() bool { return c.Get(ctx, "k").Err() == redis.Nil })
	is(time.Duration(-2))(c.TTL(ctx, "k").Result())
	c.Set(ctx, "k", "v", 100*time.Second)
	ok(must(c.TTL(ctx, "k").Result()) >= 99*time.Second)
	is(true)(c.Persist(ctx, "k").Result())
	is(time.Duration(-1))(c.TTL(ctx, "k").Result())
}

func pipelining(c *redis.Client) {
	p := c.Pipeline()
	for i := range 5000 {
		p.Set(ctx, fmt.Sprint("p:", i), i, 0)
		p.Get(ctx, fmt.Sprint("p:", i))
	}
	got := must(p.Exec(ctx))
	for i := range 5000 {
		if must(got[2*i+1].(*redis.StringCmd).Int()) != i {
			panic(i)
		}
	}
	equal(len(got), 10000)
	p = c.Pipeline()
	p.Set(ctx, "a", "x", 0)
	bad, good := p.Incr(ctx, "a"), p.Get(ctx, "a")
	p.Exec(ctx)
	fails(bad.Err(), "not an integer")
	is("x")(good.Result())
	var all sync.WaitGroup
	for range 50 {
		all.Add(1)
		go func() { defer all.Done(); c.Incr(ctx, "n") }()
	}
	all.Wait()
	is("50")(c.Get(ctx, "n").Result())
}

func transactions(c *redis.Client) {
	got := must(c.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, "a", 1, 0)
		p.Incr(ctx, "a")
		return nil
	}))
	is(int64(2))(got[1].(*redis.IntCmd).Result())
	add := func(meanwhile bool) error {
		return c.Watch(ctx, func(tx *redis.Tx) error {
			n := must(tx.Get(ctx, "a").Int())
			if meanwhile {
				c.Set(ctx, "a", 100, 0)
			}
			_, err := tx.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Set(ctx, "a", n+1, 0); return nil })
			return err
		}, "a")
	}
	equal(add(false), nil)
	is("3")(c.Get(ctx, "a").Result())
	equal(add(true), redis.TxFailedErr)
	is("100")(c.Get(ctx, "a").Result())
	_, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Set(ctx, "a", 1, 0); p.Do(ctx, "SET", "a"); return nil })
	ok(err != nil && (strings.Contains(err.Error(), "EXECABORT") || strings.Contains(err.Error(), "wrong number")), err)
	is("100")(c.Get(ctx, "a").Result())
	one := c.Conn()
	defer one.Close()
	one.Do(ctx, "MULTI")
	one.Do(ctx, "SET", "a")
	fails(one.Do(ctx, "EXEC").Err(), "EXECABORT")
}

func hear(s *redis.PubSub, wanted string) {
	select {
	case m, open := <-s.Channel():
		ok(open && m.Channel+" "+m.Pattern+" "+m.Payload == wanted, m)
	case <-time.After(10 * time.Second):
		panic("heard nothing")
	}
}

func subscriptions(c *redis.Client) {
	one, two, three := c.Subscribe(ctx, "news"), c.PSubscribe(ctx, "n*"), c.SSubscribe(ctx, "shard")
	for _, s := range []*redis.PubSub{one, two, three} {
		defer s.Close()
		must(s.Receive(ctx))
	}
	is(int64(2))(c.Publish(ctx, "news", "one").Result())
	hear(one, "news  one")
	hear(two, "news n* one")
	is(int64(1))(c.SPublish(ctx, "shard", "hi").Result())
	hear(three, "shard  hi")
	is([]string{"news"})(c.PubSubChannels(ctx, "n*").Result())
	one.Unsubscribe(ctx, "news")
	until("it to be gone", func() bool { return must(c.PubSubNumSub(ctx, "news").Result())["news"] == 0 })
	is(int64(1))(c.Publish(ctx, "news", "two").Result())
}

func blocking(c *redis.Client) {
	later := func(push func()) {
		go func() { blocked(c); push() }()
	}
	later(func() { c.RPush(ctx, "q", 1) })
	is([]string{"q", "1"})(c.BLPop(ctx, 20*time.Second, "none", "q").Result())
	later(func() { c.RPush(ctx, "q", 2) })
	is("2")(c.BLMove(ctx, "q", "r", "LEFT", "LEFT", 20*time.Second).Result())
	later(func() { c.ZAdd(ctx, "z", redis.Z{Score: 1.5, Member: "m"}) })
	is(&redis.ZWithKey{Key: "z", Z: redis.Z{Score: 1.5, Member: "m"}})(c.BZPopMin(ctx, 20*time.Second, "z").Result())
	later(func() { c.XAdd(ctx, &redis.XAddArgs{Stream: "x", ID: "1-1", Values: []any{"a", 1}}) })
	equal(must(c.XRead(ctx, &redis.XReadArgs{Streams: []string{"x", "$"}, Block: 20 * time.Second}).Result())[0].Messages[0].ID, "1-1")
	began := time.Now()
	equal(c.BRPop(ctx, time.Second, "none").Err(), redis.Nil)
	ok(time.Since(began) > 900*time.Millisecond)
}

func iteration(c *redis.Client) {
	must(c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i := range 3000 {
			p.Set(ctx, fmt.Sprint("key:", i), i, 0)
			p.HSet(ctx, "hash", fmt.Sprint("f", i), i)
			p.SAdd(ctx, "set", i)
			p.ZAdd(ctx, "zset", redis.Z{Score: float64(i), Member: fmt.Sprint("m", i)})
		}
		return nil
	}))
	count := func(i *redis.ScanIterator) int {
		seen := map[string]bool{}
		for i.Next(ctx) {
			seen[i.Val()] = true
		}
		equal(i.Err(), nil)
		return len(seen)
	}
	equal(count(c.Scan(ctx, 0, "key:*", 100).Iterator()), 3000)
	equal(count(c.ScanType(ctx, 0, "", 0, "hash").Iterator()), 1)
	equal(count(c.SScan(ctx, "set", 0, "1*", 0).Iterator()), 1111)
	pairs := map[string]string{}
	for i := c.HScan(ctx, "hash", 0, "f*", 0).Iterator(); i.Next(ctx); {
		field := i.Val()
		i.Next(ctx)
		pairs[field] = i.Val()
	}
	equal([]any{len(pairs), pairs["f2999"]}, []any{3000, "2999"})
	equal(count(c.ZScan(ctx, "zset", 0, "m1*", 0).Iterator()), 2222)
}

func bigAndBinary(c *redis.Client) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	big := bytes.Repeat(every, 80_000)
	is("OK")(c.Set(ctx, "big", big, 0).Result())
	ok(bytes.Equal(must(c.Get(ctx, "big").Bytes()), big), "20 MB came back otherwise")
	c.HSet(ctx, string(every), every, every)
	is(map[string]string{string(every): string(every)})(c.HGetAll(ctx, string(every)).Result())
}

func replies(c *redis.Client) {
	c.RPush(ctx, "l", 1)
	err := c.Get(ctx, "l").Err()
	var reply redis.Error
	ok(errors.As(err, &reply), err)
	fails(err, "WRONGTYPE")
	fails(c.Do(ctx, "NOSUCH", "x").Err(), "ERR unknown command 'NOSUCH'")
	fails(c.Do(ctx, "GET").Err(), "wrong number of arguments")
	fails(c.Rename(ctx, "none", "x").Err(), "no such key")
}

func reconnecting(c *redis.Client) {
	single := connect(func(o *redis.Options) { o.PoolSize = 1 })
	defer single.Close()
	single.Set(ctx, "k", "v", 0)
	before := must(single.ClientID(ctx).Result())
	is(int64(1))(c.ClientKillByFilter(ctx, "ID", fmt.Sprint(before)).Result())
	is("v")(single.Get(ctx, "k").Result())
	ok(must(single.ClientID(ctx).Result()) != before)
	heard := c.Subscribe(ctx, "news")
	defer heard.Close()
	must(heard.Receive(ctx))
	heard.Channel()
	is(int64(1))(c.ClientKillByFilter(ctx, "TYPE", "pubsub").Result())
	until("its subscription", func() bool { return must(c.Publish(ctx, "news", "again").Result()) == 1 })
	hear(heard, "news  again")
}

func server(c *redis.Client) {
	ok(strings.Contains(must(c.Info(ctx).Result()), "redis_version:7."))
	is(map[string]string{"maxmemory-policy": "noeviction"})(c.ConfigGet(ctx, "maxmemory-policy").Result())
	is("OK")(c.ConfigSet(ctx, "maxmemory-policy", "noeviction").Result())
	commands := must(c.Command(ctx).Result())
	ok(len(commands) > 200 && commands["get"].Arity == 2 && commands["get"].ReadOnly, len(commands))
	is(int64(0))(c.DBSize(ctx).Result())
	is([]string{"k"})(c.CommandGetKeys(ctx, "SET", "k", "v").Result())
	ok(time.Since(must(c.Time(ctx).Result())).Abs() < time.Minute)
}

func main() {
	groups := []struct {
		name string
		run  func(*redis.Client)
	}{{"connecting", connecting}, {"strings and bits", stringsAndBits}, {"collections", collections}, {"streams", streams},
		{"expiry", expiry}, {"pipelining", pipelining}, {"transactions", transactions}, {"subscriptions", subscriptions},
		{"blocking", blocking}, {"iteration", iteration}, {"big and binary", bigAndBinary}, {"error replies", replies},
		{"reconnecting", reconnecting}, {"server", server}}
	var failed []string
	for _, protocol = range []int{2, 3} {
		for _, group := range groups {
			before, c := held, connect(nil)
			must(c.FlushAll(ctx).Result())
			func() {
				defer func() {
					if said := recover(); said != nil {
						fmt.Printf("RESP%d %s: FAILED after %d checks: %v\n", protocol, group.name, held-before, said)
						failed = append(failed, group.name)
					}
				}()
				group.run(c)
				fmt.Printf("RESP%d %s: %d\n", protocol, group.name, held-before)
			}()
			c.Close()
		}
	}
	fmt.Printf("%d checks\n", held)
	if len(failed) > 0 {
		os.Exit(1)
	}
}
