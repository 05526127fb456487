/* The driver alone: plan, apply, result, without a plane. usage: slots SOCKET */
#include "check.h"

static void apply(lb_slots *slots, const lb_batch *wanted, const char *part) {
    lb_text *text = NULL;
    OK(lb_slots_apply(slots, wanted, 120000, &text, &err));
    CHECK(has(lb_text_view(text), part));
    lb_text_free(text);
}

static int planned(lb_slots *slots, const lb_batch *wanted, const char *part) {
    lb_text *text = NULL;
    OK(lb_slots_plan(slots, wanted, 120000, &text, &err));
    int found = has(lb_text_view(text), part);
    lb_text_free(text);
    return found;
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    char target[256];
    int len = snprintf(target, sizeof target, "name = \"edge\"\nsocket = \"%s\"", argv[1]);
    CHECK(len > 0 && (size_t)len < sizeof target);
    lb_slots *slots = NULL;
    lb_batch *two = NULL, *one = NULL, *many = NULL;
    OK(lb_slots_new(target, (size_t)len, S("web"), &slots, &err));
    OK(lb_batch_new(&two, &err));
    add(two, "a", "127.0.0.1:9001");
    add(two, "b", "127.0.0.1:9002");
    OK(lb_batch_new(&one, &err));
    add(one, "b", "127.0.0.1:9002");

    /* A plan changes nothing: it is the same again. */
    CHECK(planned(slots, two, "127.0.0.1:9001"));
    CHECK(planned(slots, two, "127.0.0.1:9001"));
    apply(slots, two, "\"converged\":true");
    CHECK(!planned(slots, two, "127.0.0.1:9001"));
    /* A plan for something else does not spoil what comes after it. */
    CHECK(planned(slots, one, "stages"));
    apply(slots, two, "\"converged\":true");
    apply(slots, one, "\"unmet\":[]");

    OK(lb_batch_new(&many, &err));
    for (int i = 0; i < 20; i++) {
        char id[16], address[32];
        snprintf(id, sizeof id, "e%d", i);
        snprintf(address, sizeof address, "127.0.0.1:%d", 9100 + i);
        add(many, id, address);
    }
    FAILS(LB_STATUS_TIMEOUT, lb_slots_apply(slots, many, 0, &(lb_text *){NULL}, &err));
    lb_slots_free(slots);
    lb_batch_free(one);
    lb_batch_free(two);
    lb_batch_free(many);
    puts("slots: ok");
    return 0;
}
