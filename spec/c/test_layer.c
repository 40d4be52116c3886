/* Groups and channels without a loop: who gets what. */
#include "unit.h"

#include "layer/layer.h"

struct member {
    unsigned got;
    bool full;
};

static bool take(void *owner, rl_message *m)
{
    struct member *self = owner;

    if (self->full)
        return false;
    self->got++;
    return true;
}

static void fans_out_to_members_only(void)
{
    rl_layer layer;
    struct member people[4] = {0};
    rl_channel *ch[4];
    rl_message *m = rl_message_new(RL_STR("body"), RL_STR("h"), RL_STR("payload"));

    rl_layer_init(&layer);
    for (int i = 0; i < 4; i++) {
        ch[i] = rl_channel_open(&layer, i == 1 ? RL_STR("one") : RL_STR(""), take, &people[i]);
        rl_layer_join(&layer, RL_STR("room"), ch[i]);
        rl_layer_join(&layer, RL_STR("room"), ch[i]); /* joining twice is joining */
    }
    rl_layer_leave(&layer, RL_STR("room"), ch[1]);
    people[2].full = true;
    rl_receipt r = rl_layer_group_send(&layer, RL_STR("room"), m);
    CHECK_INT(r.delivered, 2);
    CHECK_INT(r.dropped, 1);
    CHECK(people[0].got == 1 && people[1].got == 0 && people[3].got == 1);
    CHECK_MEM(m->frame->data, m->frame->n, "hpayload");

    CHECK_INT(rl_layer_send(&layer, rl_layer_find(&layer, RL_STR("one")), m).delivered, 1);
    CHECK_INT(rl_layer_send(&layer, rl_layer_find(&layer, RL_STR("nobody")), m).delivered, 0);
    CHECK_INT(rl_layer_group_count(&layer, RL_STR("room")), 3);
    for (int i = 0; i < 4; i++)
        rl_channel_close(ch[i]);
    CHECK_INT(rl_layer_group_count(&layer, RL_STR("room")), 0);
    rl_message_unref(m);
    rl_layer_fini(&layer);
}

static void checks_names(void)
{
    char long_name[101];

    memset(long_name, 'a', sizeof(long_name));
    CHECK(rl_layer_valid_group((rl_str){long_name, 99}));
    CHECK(!rl_layer_valid_group((rl_str){long_name, 100}));
    CHECK(!rl_layer_valid_group(RL_STR("chat\n")));
    CHECK(!rl_layer_valid_group(RL_STR("a!b")) && rl_layer_valid_channel(RL_STR("a!b")));
    CHECK(!rl_layer_valid_channel(RL_STR("a!b!c")) && !rl_layer_valid_channel(RL_STR("!a")));
    CHECK(!rl_layer_valid_group(RL_STR("")) && !rl_layer_valid_group(RL_STR("caf\xc3\xa9")));
}

int main(void)
{
    fans_out_to_members_only();
    checks_names();
    return unit_done();
}
